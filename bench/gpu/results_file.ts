// Saves what `npm run gpu` has done after each item, so that an interrupted run resumes.
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

/** One check or measurement. */
export interface Item {
  part: string;
  name: string;
  ok: boolean;
  /** Whether what it needs was absent. */
  skipped?: boolean;
  seconds: number;
  /** The error, or the result. */
  detail?: string;
  values?: Record<string, number>;
}

export interface ItemResult {
  /** What it needs is absent; it is tried again in the next run. */
  skipped?: boolean;
  detail?: string;
  values?: Record<string, number>;
}

export class ResultsFile {
  readonly items: Item[] = [];
  private readonly path: string;
  /** What the items belong to; another machine or build starts over. */
  private readonly identity: string;
  private readonly deadline: number;

  /**
   * @param minutes time after which no item is started
   * @throws Error if the folder of `path` cannot be made
   */
  constructor(path: string, identity: string, minutes: number) {
    this.path = path;
    this.identity = identity;
    this.deadline = performance.now() + minutes * 60_000;
    mkdirSync(dirname(path), { recursive: true });
    try {
      const before = JSON.parse(readFileSync(path, 'utf8')) as { identity: string; items: Item[] };
      if (before.identity === identity) this.items.push(...before.items);
    } catch {
      // The file is missing or incomplete: nothing has been done yet.
    }
  }

  get secondsLeft(): number {
    return (this.deadline - performance.now()) / 1000;
  }

  /** What an item gave in this run or an earlier one. */
  find(part: string, name: string): Item | undefined {
    return this.items.find((item) => item.part === part && item.name === name);
  }

  /** Runs an item and saves its result. An error marks the item as failed and stops nothing else. */
  async run(part: string, name: string, work: () => Promise<ItemResult>): Promise<Item> {
    const start = performance.now();
    const seconds = () => Math.round(performance.now() - start) / 1000;
    let item: Item;
    try {
      const result = await work();
      item = { part, name, ok: true, seconds: seconds(), ...result };
    } catch (error) {
      item = { part, name, ok: false, seconds: seconds(), detail: (error as Error).message };
    }
    const before = this.items.findIndex((one) => one.part === part && one.name === name);
    if (before < 0) this.items.push(item);
    else this.items[before] = item;
    const staged = `${this.path}.${process.pid}`;
    writeFileSync(staged, JSON.stringify({ identity: this.identity, items: this.items }));
    renameSync(staged, this.path);
    return item;
  }

  /** Removes the file when everything is done, so that the next run starts over. */
  finish(): void {
    rmSync(this.path, { force: true });
  }
}

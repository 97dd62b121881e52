// What `npm run gpu` has done so far, kept in a file after each item, so that a run that was cut goes on where it was.
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';

/** One thing that was checked or measured. */
export interface Item {
  part: string;
  name: string;
  ok: boolean;
  seconds: number;
  /** Why it is not ok, or what was found. */
  detail?: string;
  values?: Record<string, number>;
}

export interface Outcome {
  detail?: string;
  values?: Record<string, number>;
}

export class Session {
  readonly items: Item[] = [];
  private readonly path: string;
  /** Of what the items are: another machine or build starts anew. */
  private readonly identity: string;
  private readonly deadline: number;

  /** @param minutes after which no item is begun */
  constructor(path: string, identity: string, minutes: number) {
    this.path = path;
    this.identity = identity;
    this.deadline = performance.now() + minutes * 60_000;
    try {
      const before = JSON.parse(readFileSync(path, 'utf8')) as { identity: string; items: Item[] };
      if (before.identity === identity) this.items.push(...before.items);
    } catch {
      // There is none, or half of one: nothing is done yet.
    }
  }

  get secondsLeft(): number {
    return (this.deadline - performance.now()) / 1000;
  }

  done(part: string, name: string): boolean {
    return this.items.some((item) => item.part === part && item.name === name);
  }

  /** Runs an item and keeps what came of it; an error makes it not ok and stops nothing. */
  async run(part: string, name: string, work: () => Promise<Outcome> | Outcome): Promise<Item> {
    const start = performance.now();
    const seconds = () => Math.round(performance.now() - start) / 1000;
    let item: Item;
    try {
      const outcome = await work();
      item = { part, name, ok: true, seconds: seconds(), ...outcome };
    } catch (error) {
      item = { part, name, ok: false, seconds: seconds(), detail: (error as Error).message };
    }
    this.items.push(item);
    const staged = `${this.path}.${process.pid}`;
    writeFileSync(staged, JSON.stringify({ identity: this.identity, items: this.items }));
    renameSync(staged, this.path);
    return item;
  }

  /** All is done: the next run begins anew. */
  finish(): void {
    rmSync(this.path, { force: true });
  }
}

// Data sets of comma-separated values. Records are those of RFC 4180: cells may be quoted, and a quoted cell may hold
// separators, line breaks and doubled quotes. Lines end with LF or CRLF; empty lines are skipped.
import { checkArgument, checkOptions, kind, kinds, listOf, type OptionKinds } from '../arguments.ts';
import { ArgumentError, FileError, nearestName } from '../errors.ts';
import { readWhole } from '../io/file.ts';
import { type ArrayDataset, arrayDataset, type FieldArray, type Rows } from './arrays.ts';

const MAX_BYTES = 2 ** 28;

export interface CsvOptions {
  /** The column of class labels, which become field y, i32. */
  label?: string;
  /** The column of numbers to predict, which become field y, f32; not with `label`. */
  target?: string;
  /** The columns of field x; default: all others. */
  columns?: readonly string[];
  /** Names of the classes in order, for labels that are words; default: those in the file, sorted. */
  classes?: readonly string[];
  /** Whether the first line names the columns; default true. Otherwise their names are 0, 1, ... */
  header?: boolean;
  /** One character; default a comma. */
  separator?: string;
}

/** x: f32 [N, columns], and with a label or a target y: [N]. */
export interface CsvDataset<Name extends 'x' | 'y' = 'x' | 'y'> extends ArrayDataset<Name> {
  /** The columns of x. */
  readonly columns: readonly string[];
  /** The names of the classes, by number; undefined unless labels are words. */
  readonly classes: readonly string[] | undefined;
}

const csvOptions: OptionKinds<CsvOptions> = {
  label: kinds.text,
  target: kinds.text,
  columns: listOf(kinds.text, 'names'),
  classes: listOf(kinds.text, 'names'),
  header: kinds.boolean,
  separator: kind(
    'one character other than a quote or a line break',
    (v) => typeof v === 'string' && /^[^"\r\n]$/.test(v),
  ),
};

interface CsvRecord {
  /** Number of its first line, from 1. */
  line: number;
  cells: string[];
}

/** A file's table: names of columns and records of that length. */
interface Table {
  path: string;
  names: readonly string[];
  records: readonly CsvRecord[];
}

/**
 * Reads a file of comma-separated values into memory: columns of numbers as field x, f32 [N, columns], and one column as
 * field y, [N]: with `label` i32, with `target` f32. Labels are whole numbers from 0, which stay as they are, or words,
 * which are numbered in the order of `classes`.
 * @throws FileError naming line and column for a cell that is not a number, a label that is not in `classes`, a record
 * of another length, and a column that does not exist
 * @example
 * import { writeFileSync } from 'node:fs';
 *
 * writeFileSync('iris.csv', 'length,width,species\n5.1,3.5,setosa\n6.3,3.3,virginica\n');
 * const data = await loadCsv('iris.csv', { label: 'species' });
 * data.columns; // ['length', 'width']
 * data.classes; // ['setosa', 'virginica']
 * for await (const { x, y } of batches(data, { size: 2 })) {
 *   x; // [[5.1, 3.5], [6.3, 3.3]]
 *   y; // [0, 1]
 * }
 */
export function loadCsv(
  path: string,
  options: CsvOptions & ({ label: string } | { target: string }),
): Promise<CsvDataset>;
export function loadCsv(path: string, options?: CsvOptions): Promise<CsvDataset<'x'>>;
export async function loadCsv(path: string, options: CsvOptions = {}): Promise<CsvDataset> {
  checkArgument('loadCsv', 'path', path, kinds.path);
  const checked = checkOptions('loadCsv', options, csvOptions);
  const { label, target, header = true, separator = ',' } = checked;
  if (label !== undefined && target !== undefined) throw new ArgumentError('loadCsv', 'label or target', 'both');
  if (checked.classes && label === undefined) throw new ArgumentError('loadCsv', 'a label for its classes', 'none');
  const table = tableOf(path, await readText(path), { header, separator });
  const answer = label ?? target;
  const answerPlace = answer === undefined ? -1 : placeOf(table, answer);
  const columns = checked.columns ?? table.names.filter((name) => name !== answer);
  const places = columns.map((name) => placeOf(table, name));
  const x = new Float32Array(table.records.length * places.length);
  table.records.forEach((record, i) => {
    places.forEach((place, j) => {
      x[i * places.length + j] = numberIn(table, record, place);
    });
  });
  const fields: Partial<Record<'x' | 'y', FieldArray | Rows>> = {
    x: { data: x, shape: [table.records.length, places.length] },
  };
  let classes: readonly string[] | undefined;
  if (target !== undefined)
    fields.y = Float32Array.from(table.records, (record) => numberIn(table, record, answerPlace));
  if (label !== undefined) {
    classes = checked.classes ?? classesOf(table, answerPlace);
    fields.y = Int32Array.from(table.records, (record) => labelIn(table, record, answerPlace, classes));
  }
  return { ...arrayDataset(fields as Record<'x' | 'y', FieldArray | Rows>, path), columns: [...columns], classes };
}

async function readText(path: string): Promise<string> {
  const bytes = await readWhole(path, MAX_BYTES);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new FileError(path, 'is not text in UTF-8', { cause });
  }
}

function tableOf(path: string, text: string, { header, separator }: { header: boolean; separator: string }): Table {
  const records = recordsOf(path, text, separator);
  const [first] = records;
  if (!first || (header && records.length === 1)) throw new FileError(path, 'holds no records');
  const names = header ? first.cells : first.cells.map((_, i) => String(i));
  const twice = names.find((name, i) => names.indexOf(name) < i);
  if (twice !== undefined) throw new FileError(path, `has two columns ${JSON.stringify(twice)}`);
  for (const { line, cells } of records)
    if (cells.length !== names.length)
      throw new FileError(path, `line ${line} has ${cells.length} cells, the first line ${names.length}`);
  return { path, names, records: header ? records.slice(1) : records };
}

function recordsOf(path: string, text: string, separator: string): CsvRecord[] {
  const records: CsvRecord[] = [];
  let line = 1;
  for (let at = 0; at < text.length; ) {
    const record: CsvRecord = { line, cells: [] };
    for (;;) {
      let cell: string;
      if (text[at] === '"') {
        const end = endOfQuotes(text, at + 1);
        if (end < 0) throw new FileError(path, `line ${line}: a quoted cell does not end`);
        cell = text.slice(at + 1, end).replaceAll('""', '"');
        line += cell.split('\n').length - 1;
        at = end + 1;
        if (at < text.length && text[at] !== separator && !/[\r\n]/.test(text[at]))
          throw new FileError(path, `line ${line}: a quoted cell is followed by ${JSON.stringify(text[at])}`);
      } else {
        const begin = at;
        while (at < text.length && text[at] !== separator && text[at] !== '\n') at++;
        cell = text.slice(begin, at).replace(/\r$/, '');
      }
      record.cells.push(cell.trim());
      if (text[at] === '\r' && text[at + 1] === '\n') at++;
      if (at >= text.length || text[at] !== separator) break;
      at++;
    }
    at++;
    line++;
    if (record.cells.length > 1 || record.cells[0] !== '') records.push(record);
  }
  return records;
}

/** The position of the quote that ends a quoted cell; -1 if there is none. */
function endOfQuotes(text: string, begin: number): number {
  let at = text.indexOf('"', begin);
  while (at >= 0 && text[at + 1] === '"') at = text.indexOf('"', at + 2);
  return at;
}

function placeOf({ path, names }: Table, name: string): number {
  const place = names.indexOf(name);
  if (place >= 0) return place;
  const near = nearestName(name, names);
  const hint = near ? `; did you mean ${JSON.stringify(near)}?` : `; its columns are ${names.slice(0, 20).join(', ')}`;
  throw new FileError(path, `has no column ${JSON.stringify(name)}${hint}`);
}

function numberIn({ path, names }: Table, { line, cells }: CsvRecord, place: number): number {
  const value = cells[place] === '' ? Number.NaN : Number(cells[place]);
  if (Number.isFinite(value)) return value;
  throw new FileError(path, `line ${line}, column "${names[place]}": ${JSON.stringify(cells[place])} is not a number`);
}

const wholeNumber = /^\d{1,9}$/;

/** The classes of a column of words, sorted; undefined for whole numbers. */
function classesOf({ records }: Table, place: number): string[] | undefined {
  const words = new Set(records.map(({ cells }) => cells[place]));
  return [...words].every((word) => wholeNumber.test(word)) ? undefined : [...words].sort();
}

function labelIn(
  { path, names }: Table,
  { line, cells }: CsvRecord,
  place: number,
  classes: readonly string[] | undefined,
): number {
  const number = classes ? classes.indexOf(cells[place]) : Number(cells[place]);
  if (number >= 0) return number;
  throw new FileError(path, `line ${line}, column "${names[place]}": ${JSON.stringify(cells[place])} is not a class`);
}

// Opens a file or an address in the program that the desktop has for it, and quotes paths for a shell.
import { spawn } from 'node:child_process';
import { resolve } from 'node:path';
import { say } from './screen.ts';

/** Opens a file without waiting for the program. A desktop that cannot do so is a notice, not an error. */
export function openFile(path: string): void {
  openInDesktop(resolve(path), 'report');
}

/** Opens the address of a page, as openFile opens a file. */
export function openAddress(address: string): void {
  openInDesktop(address, 'page');
}

function openInDesktop(target: string, what: string): void {
  const [command, ...words] = openers[process.platform] ?? ['xdg-open'];
  const child = spawn(command, [...words, target], { stdio: 'ignore', detached: true });
  child.on('error', () => say(`note: ${command} is not available here, so the ${what} was not opened`));
  child.unref();
}

const openers: Partial<Record<NodeJS.Platform, string[]>> = { darwin: ['open'], win32: ['explorer.exe'] };

/** A word for a POSIX shell, quoted if it must be. */
export function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

// Names that operating systems, file managers and notebooks put among a user's files. They are no data, whatever they end in.
//
// ._0.jpg, .DS_Store, __MACOSX       macOS, in archives and on foreign disks
// .thumbnails, .ipynb_checkpoints    file managers and Jupyter
// Thumbs.db, desktop.ini, ...        Windows
// @eaDir, #recycle, lost+found       storage servers and Linux

const systemNames = new Set([
  '__macosx',
  'thumbs.db',
  'ehthumbs.db',
  'desktop.ini',
  '$recycle.bin',
  'system volume information',
  '@eadir',
  '#recycle',
  'lost+found',
]);

/** Whether a name, without its folder, begins with a dot or is one that a system gives. */
export function isSystemName(name: string): boolean {
  return name.startsWith('.') || systemNames.has(name.toLowerCase());
}

/** Whether any part of a relative path with slashes is such a name. */
export function hasSystemName(path: string): boolean {
  return path.split('/').some(isSystemName);
}

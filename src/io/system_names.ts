// Names of files that operating systems, file managers and notebooks add to a user's folders. They are not data,
// whatever their extension: readers of folders and archives skip them.
//
// ._0.jpg, .DS_Store, __MACOSX       macOS, in archives and on non-Apple disks
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

/** Returns whether a name, without its folder, begins with a dot or is in the list above. */
export function isSystemName(name: string): boolean {
  return name.startsWith('.') || systemNames.has(name.toLowerCase());
}

/** Returns whether any component of a relative path (with slashes) is such a name. */
export function hasSystemName(path: string): boolean {
  return path.split('/').some(isSystemName);
}

/**
 * Finds, reads and replaces source files. Nothing outside the folder is touched: symbolic links are not followed.
 */

import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { access, chown, lstat, open, readdir, rename, stat, unlink } from 'node:fs/promises';
import { basename, dirname, extname, join, relative, sep } from 'node:path';
import { EXTENSIONS } from './parse.mjs';

/** Folders whose files a tool has written, or a package manager has put there. */
export const SKIPPED = new Set(['node_modules', 'dist', 'build', 'coverage', 'bower_components']);

/** A bigger file was not written by a person. */
export const MAX_FILE_BYTES = 2 * 1024 * 1024;

const BOM = '\uFEFF';

/**
 * @typedef {object} SourceFile
 * @property {string} path
 * @property {string} name relative to the folder, with slashes: what a person reads
 * @property {string} extension
 * @property {string} text without the byte order mark
 * @property {boolean} bom
 * @property {import('node:fs').Stats} info as it was when the file was read
 */

/** @typedef {{ name: string, message: string, line?: number }} Trouble */

function isSource(/** @type {string} */ name) {
  return EXTENSIONS.includes(extname(name)) && !/\.d\.[cm]?ts$|\.min\.[cm]?js$/.test(name);
}

/**
 * @param {string} folder
 * @param {Trouble[]} troubles
 * @returns {Promise<string[]>}
 */
async function listFolder(folder, troubles) {
  /** @type {string[]} */
  const result = [];
  let entries;
  try {
    entries = await readdir(folder, { withFileTypes: true });
  } catch (error) {
    troubles.push({ name: folder, message: /** @type {Error} */ (error).message });
    return result;
  }
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) {
      if (!SKIPPED.has(entry.name) && !entry.name.startsWith('.')) {
        result.push(...(await listFolder(path, troubles)));
      }
    } else if (entry.isFile() && isSource(entry.name)) {
      result.push(path);
    }
  }
  return result;
}

/**
 * @param {string} root a folder, or one file
 * @returns {Promise<{ files: SourceFile[], troubles: Trouble[] }>}
 */
export async function readTree(root) {
  const single = (await stat(root)).isFile();
  /** @type {Trouble[]} */
  const troubles = [];
  const paths = single ? [root] : await listFolder(root, troubles);
  /** @type {SourceFile[]} */
  const files = [];
  for (const path of paths) {
    const name = single ? basename(path) : relative(root, path).split(sep).join('/');
    try {
      files.push(await readSource(path, name));
    } catch (error) {
      troubles.push({ name, message: /** @type {Error} */ (error).message });
    }
  }
  for (const trouble of troubles) {
    if (trouble.name.startsWith(root)) trouble.name = relative(root, trouble.name) || '.';
  }
  return { files, troubles };
}

/** @returns {Promise<SourceFile>} */
async function readSource(/** @type {string} */ path, /** @type {string} */ name) {
  const handle = await open(path, 'r');
  try {
    const info = await handle.stat();
    if (info.size > MAX_FILE_BYTES) throw new Error(`is larger than ${MAX_FILE_BYTES} bytes`);
    const bytes = await handle.readFile();
    let text;
    try {
      text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch {
      throw new Error('is not UTF-8');
    }
    const bom = text.startsWith(BOM);
    return { path, name, extension: extname(path), text: bom ? text.slice(1) : text, bom, info };
  } finally {
    await handle.close();
  }
}

/**
 * Replaces a file in one step: whoever reads it meanwhile sees the old or the new text, never half of one.
 * @param {SourceFile} file as it was read
 * @param {string} text without the byte order mark
 */
export async function replaceFile(file, text) {
  await access(file.path, constants.W_OK);
  const temporary = join(dirname(file.path), `.${basename(file.path)}.${randomBytes(6).toString('hex')}`);
  const handle = await open(temporary, 'wx', 0o600);
  try {
    try {
      await handle.writeFile((file.bom ? BOM : '') + text);
      if (process.getuid && (file.info.uid !== process.getuid() || file.info.gid !== process.getgid?.())) {
        await chown(temporary, file.info.uid, file.info.gid).catch(() => undefined);
      }
      await handle.chmod(file.info.mode & 0o7777);
      await handle.sync();
    } finally {
      await handle.close();
    }
    const now = await lstat(file.path);
    if (
      !now.isFile() ||
      now.ino !== file.info.ino ||
      now.mtimeMs !== file.info.mtimeMs ||
      now.size !== file.info.size
    ) {
      throw new Error('was changed by somebody else meanwhile');
    }
    await rename(temporary, file.path);
  } catch (error) {
    await unlink(temporary).catch(() => undefined);
    throw error;
  }
}

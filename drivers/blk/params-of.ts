import { DiskError } from './disk.js';

/**
 * Which disk the toolstack means: `params` as it is, but where it takes the backend for QEMU's, which is told the format before the path, `aio`
 * for a raw image (libxl_disk.c `device_disk_add`, libxl__device_disk_string_of_format).
 * @throws DiskError for another format
 */
export const paramsOf = ({ type, params }: { readonly type: string; readonly params: string }): string => {
  if (type !== 'qdisk') return params;
  const [, format, path] = /^([a-z0-9]+):(.*)$/s.exec(params) ?? [];
  if (format === undefined || path === undefined) return params;
  if (format === 'aio' || format === 'raw') return path;
  throw new DiskError(`${path}: is to be served as ${format}; only raw images are served, say format=raw to xl`);
};

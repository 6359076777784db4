// An aligned square of a face out of a photograph: the geometry of facelib.data.align. Coordinates are pixels of the
// photograph, (0, 0) the middle of its first pixel.

import { cubic, resample } from "./resample.js";

const EYES = [[0.38, 0.43], [0.615, 0.43]]; // where the crop has them, as shares of its side: TEMPLATES["celeba"]

const BETWEEN = cubic(-0.75); // as OpenCV interpolates
const LARGEST = 2048; // pixels: the side of the crop before it shrinks, which is kept in memory as numbers

// Where a pixel of the crop comes from: (x, y) -> (a x - b y + c, b x + a y + d), a turn with a scale and a shift.
const backwards = ([[x1, y1], [x2, y2]], size) => {
  const [[u1, v1], [u2]] = EYES.map((eye) => eye.map((share) => share * size - 0.5));
  const [a, b] = [(x2 - x1) / (u2 - u1), (y2 - y1) / (u2 - u1)]; // the crop's eyes lie level
  return [a, b, x1 - a * u1 + b * v1, y1 - b * u1 - a * v1];
};

// Bicubic, into three planes; beyond the photograph its edge is repeated.
const sample = ({ data, width, height }, x, y, into, at) => {
  const plane = into.length / 3;
  const [left, top] = [Math.floor(x), Math.floor(y)];
  for (let j = -1; j <= 2; j++) {
    const row = Math.min(height - 1, Math.max(0, top + j)) * width;
    const down = BETWEEN(y - top - j);
    for (let i = -1; i <= 2; i++) {
      const from = 4 * (row + Math.min(width - 1, Math.max(0, left + i)));
      const weight = down * BETWEEN(x - left - i);
      for (let c = 0; c < 3; c++) into[c * plane + at] += weight * data[from + c];
    }
  }
};

/** ImageData of a photograph and its eyes [[x, y], [x, y]], in either order -> ImageData (size, size), the aligned face. */
export const align = (photo, eyes, size) => {
  const [a, b, c, d] = backwards([...eyes].sort((one, other) => one[0] - other[0]), size);
  const finest = Math.max(1, Math.floor(LARGEST / size));
  const times = Math.min(Math.max(1, Math.ceil(Math.hypot(a, b))), finest); // so fine that no pixel of the photograph is skipped
  const side = size * times;
  const large = new Float32Array(3 * side * side);
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      const [u, v] = [(x + 0.5) / times - 0.5, (y + 0.5) / times - 0.5];
      sample(photo, a * u - b * v + c, b * u + a * v + d, large, y * side + x);
    }
  }
  const crop = resample(large, [side, side], [0, 0, side, side], [size, size]);
  const pixels = new ImageData(size, size);
  for (let p = 0; p < size * size; p++) {
    for (let k = 0; k < 3; k++) pixels.data[4 * p + k] = Math.round(crop[k * size * size + p]); // clamps by itself
    pixels.data[4 * p + 3] = 255;
  }
  return pixels;
};

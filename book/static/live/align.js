// An aligned square of a face out of a photograph: the geometry of facelib.data.align. Coordinates are pixels of the
// photograph, (0, 0) the middle of its first pixel.

const EYES = [[0.38, 0.43], [0.615, 0.43]]; // where the crop has them, as shares of its side: TEMPLATES["celeba"]

const cubic = (a) => (x) => {
  const t = Math.abs(x);
  return t < 1 ? ((a + 2) * t - (a + 3)) * t * t + 1 : t < 2 ? (((t - 5) * t + 8) * t - 4) * a : 0;
};
const BETWEEN = cubic(-0.75); // as OpenCV interpolates
const SMALLER = cubic(-0.5); // as Pillow shrinks

// Where a pixel of the crop comes from: (x, y) -> (a x - b y + c, b x + a y + d), a turn with a scale and a shift.
const backwards = ([[x1, y1], [x2, y2]], size) => {
  const [[u1, v1], [u2]] = EYES.map((eye) => eye.map((share) => share * size - 0.5));
  const [a, b] = [(x2 - x1) / (u2 - u1), (y2 - y1) / (u2 - u1)]; // the crop's eyes lie level
  return [a, b, x1 - a * u1 + b * v1, y1 - b * u1 - a * v1];
};

const sample = ({ data, width, height }, x, y, into, at) => { // bicubic; beyond the photograph its edge is repeated
  const [left, top] = [Math.floor(x), Math.floor(y)];
  into.fill(0, at, at + 3);
  for (let j = -1; j <= 2; j++) {
    const row = Math.min(height - 1, Math.max(0, top + j)) * width;
    const down = BETWEEN(y - top - j);
    for (let i = -1; i <= 2; i++) {
      const from = 4 * (row + Math.min(width - 1, Math.max(0, left + i)));
      const weight = down * BETWEEN(x - left - i);
      for (let c = 0; c < 3; c++) into[at + c] += weight * data[from + c];
    }
  }
};

const smaller = (values, length, others, times) => { // (length, others, 3) -> (others, length / times, 3), antialiased
  const n = length / times;
  const found = new Float32Array(n * others * 3);
  for (let i = 0; i < n; i++) {
    const middle = (i + 0.5) * times;
    const first = Math.max(0, Math.floor(middle - 2 * times));
    const last = Math.min(length, Math.ceil(middle + 2 * times));
    const weights = Array.from({ length: last - first }, (_, j) => SMALLER((first + j + 0.5 - middle) / times));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    weights.forEach((weight, j) => {
      for (let k = 0; k < others; k++) {
        for (let c = 0; c < 3; c++) {
          found[(k * n + i) * 3 + c] += (weight / total) * values[((first + j) * others + k) * 3 + c];
        }
      }
    });
  }
  return found;
};

/** ImageData of a photograph and its eyes [[x, y], [x, y]], in either order -> ImageData (size, size), the aligned face. */
export const align = (photo, eyes, size = 64) => {
  const [a, b, c, d] = backwards([...eyes].sort((one, other) => one[0] - other[0]), size);
  const times = Math.min(Math.max(1, Math.ceil(Math.hypot(a, b))), 32); // so fine that no pixel of the photograph is skipped
  const side = size * times;
  const large = new Float32Array(side * side * 3);
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      const [u, v] = [(x + 0.5) / times - 0.5, (y + 0.5) / times - 0.5];
      sample(photo, a * u - b * v + c, b * u + a * v + d, large, (y * side + x) * 3);
    }
  }
  const crop = smaller(smaller(large, side, side, times), side, size, times);
  const pixels = new ImageData(size, size);
  for (let p = 0; p < size * size; p++) {
    for (let k = 0; k < 3; k++) pixels.data[4 * p + k] = Math.round(crop[3 * p + k]); // clamps by itself
    pixels.data[4 * p + 3] = 255;
  }
  return pixels;
};

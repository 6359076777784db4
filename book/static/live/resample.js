// Faces at another size, as Pillow and facelib.data.images.cut make them: bicubic, and antialiased where they shrink. An image
// is planes (planes, height, width) in a Float32Array, a size [height, width], a box [left, top, right, bottom] in pixels.

/** The cubic kernel of Keys (1981); a says how far it swings below zero. */
export const cubic = (a) => (x) => {
  const t = Math.abs(x);
  return t < 1 ? ((a + 2) * t - (a + 3)) * t * t + 1 : t < 2 ? (((t - 5) * t + 8) * t - 4) * a : 0;
};
const KERNEL = cubic(-0.5); // Pillow's

// Of which pixels of a line, and with which weights, each of n new pixels is made that together cover [start, end].
const taps = (length, start, end, n) => {
  const step = (end - start) / n;
  const stretch = Math.max(1, step); // where the line shrinks, a new pixel takes in all the old ones that it covers
  return Array.from({ length: n }, (_, i) => {
    const middle = start + (i + 0.5) * step;
    const first = Math.max(0, Math.floor(middle - 2 * stretch));
    const last = Math.min(length, Math.ceil(middle + 2 * stretch));
    const weights = Float64Array.from({ length: Math.max(0, last - first) }, (_, j) => KERNEL((first + j + 0.5 - middle) / stretch));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    return { first, weights: weights.map((weight) => weight / total) };
  });
};

// (lines, length) -> (new length, lines): twice of this resamples both axes.
const turn = (values, lines, length, made) => {
  const found = new Float32Array(made.length * lines);
  made.forEach(({ first, weights }, i) => {
    for (let line = 0; line < lines; line++) {
      let sum = 0;
      for (let j = 0, from = line * length + first; j < weights.length; j++) sum += weights[j] * values[from + j];
      found[i * lines + line] = sum;
    }
  });
  return found;
};

/** What a box of an image holds, at another size. A box may reach beyond the image; far beyond it there are zeros. */
export const resample = (values, [height, width], [left, top, right, bottom], [rows, columns]) => {
  const across = taps(width, left, right, columns);
  const down = taps(height, top, bottom, rows);
  const found = new Float32Array((values.length / (height * width)) * rows * columns);
  for (let plane = 0; plane * height * width < values.length; plane++) {
    const lines = values.subarray(plane * height * width, (plane + 1) * height * width);
    found.set(turn(turn(lines, height, width, across), columns, height, down), plane * rows * columns);
  }
  return found;
};

// A hole (side, side) at another size: a pixel that the hole touches is hole, so that nothing of it is left to be seen.
const touched = (mask, side, [left, top, right, bottom], [rows, columns]) => {
  const spans = (start, end, n) => Array.from({ length: n }, (_, i) => [start + (i * (end - start)) / n,
    start + ((i + 1) * (end - start)) / n]).map(([a, b]) => [Math.floor(a + 1e-6), Math.ceil(b - 1e-6)]);
  const [down, across] = [spans(top, bottom, rows), spans(left, right, columns)];
  const found = new Float32Array(rows * columns);
  down.forEach(([y0, y1], i) => across.forEach(([x0, x1], j) => {
    for (let y = y0; y < y1; y++) for (let x = x0; x < x1; x++) if (mask[y * side + x]) found[i * columns + j] = 1;
  }));
  return found;
};

const within = (value) => Math.min(1, Math.max(-1, value)); // the range of an image: the filter swings beyond it at edges

/**
 * Fill the hole of a square face with a network of whatever size: of an oblong one, the central part of the face is filled.
 *
 * network: {run, about} of runtime.js; face (3, side, side) in [-1, 1] and mask (side, side), 1 = hole, Float32Arrays ->
 * {completed, missed}: the known pixels as they were, and 1 where the network does not look and the hole stays.
 */
export const complete = async (network, face, mask, side) => {
  const size = network.about.inputs.image.slice(2);
  const plane = side * side;
  if (size.every((n) => n === side)) {
    const { completed } = await network.run({ image: face, mask });
    return { completed, missed: new Uint8Array(plane) };
  }
  const scale = side / Math.max(...size); // of the network's pixels
  const [top, left] = size.map((n) => (side - n * scale) / 2);
  const box = [left, top, side - left, side - top];

  // What the hole hides must not be seen: known pixels alone are averaged, where the hole is not touched.
  const hole = touched(mask, side, box, size);
  const known = mask.map((bit) => 1 - bit);
  const share = resample(known, [side, side], box, size);
  const image = resample(face.map((value, i) => value * known[i % plane]), [side, side], box, size);
  image.forEach((value, i) => { image[i] = hole[i % hole.length] ? 0 : within(value / share[i % share.length]); });

  const answer = (await network.run({ image, mask: hole })).completed;
  const back = [-left / scale, -top / scale, (side - left) / scale, (side - top) / scale]; // the face, in the network's pixels
  const large = resample(answer, size, back, [side, side]);
  const completed = face.slice();
  const missed = new Uint8Array(plane);
  for (let p = 0; p < plane; p++) {
    if (!mask[p]) continue;
    const [x, y] = [(p % side) + 0.5, Math.floor(p / side) + 0.5];
    missed[p] = x < left || x > side - left || y < top || y > side - top ? 1 : 0;
    for (let i = p; i < 3 * plane; i += plane) completed[i] = missed[p] ? -1 : within(large[i]);
  }
  return { completed, missed };
};

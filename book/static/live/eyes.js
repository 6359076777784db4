// Where the face and its eyes are in a photograph: OpenCV's cascades (Viola and Jones 2001), read as facelib.data.align has
// OpenCV read them. tools/live.py makes cascades.json of OpenCV's files. Images are grey: {data, width, height}, 0 to 255.

const EYES_IN_BOX = [[0.30, 0.37], [0.69, 0.37]]; // where eyes lie in a face's box, as in facelib.data.align

/** ImageData -> grey image. */
export const grey = ({ data, width, height }) => {
  const found = new Uint8Array(width * height);
  for (let i = 0; i < found.length; i++) {
    found[i] = (19595 * data[4 * i] + 38470 * data[4 * i + 1] + 7471 * data[4 * i + 2] + 32768) >> 16; // as Pillow does
  }
  return { data: found, width, height };
};

const shrink = (image, width, height) => { // bilinear
  const found = new Uint8Array(width * height);
  const along = (n, of) => Array.from({ length: n }, (_, i) => {
    const place = Math.min(of - 1, Math.max(0, ((i + 0.5) * of) / n - 0.5));
    const first = Math.floor(place);
    return [first, Math.min(of - 1, first + 1), place - first];
  });
  const columns = along(width, image.width);
  along(height, image.height).forEach(([top, below, down], y) => columns.forEach(([left, right, across], x) => {
    const row = (j) => image.data[j * image.width + left] * (1 - across) + image.data[j * image.width + right] * across;
    found[y * width + x] = Math.round(row(top) * (1 - down) + row(below) * down);
  }));
  return { data: found, width, height };
};

const integral = ({ data, width, height }, power) => { // the sum of all that is above and left -> the sum over any box
  const wide = width + 1;
  const sums = new Float64Array(wide * (height + 1));
  for (let y = 0; y < height; y++) {
    let row = 0;
    for (let x = 0; x < width; x++) {
      row += data[y * width + x] ** power;
      sums[(y + 1) * wide + x + 1] = sums[y * wide + x + 1] + row;
    }
  }
  return (x, y, w, h) => {
    const top = y * wide + x;
    const bottom = top + h * wide;
    return sums[top] - sums[top + w] - sums[bottom] + sums[bottom + w];
  };
};

// How many stages of a cascade a window passes; -1 where nothing is to be seen in it.
const passed = ({ window, stages }, sum, square, x, y) => {
  const inner = window - 2;
  const total = sum(x + 1, y + 1, inner, inner);
  const spread = inner * inner * square(x + 1, y + 1, inner, inner) - total * total;
  if (spread <= 0 || inner * inner >= 0.1 * Math.sqrt(spread)) return -1;
  const deviation = Math.sqrt(spread);
  for (let stage = 0; stage < stages.length; stage++) {
    const weak = stages[stage][1];
    let score = 0;
    for (let i = 0; i < weak.length; i++) {
      const nodes = weak[i][0];
      let at = 0;
      do {
        const [left, right, limit, rects] = nodes[at];
        let value = 0;
        for (let r = 0; r < rects.length; r += 5) {
          value += rects[r + 4] * sum(x + rects[r], y + rects[r + 1], rects[r + 2], rects[r + 3]);
        }
        at = value < limit * deviation ? left : right;
      } while (at > 0);
      score += weak[i][1][-at];
    }
    if (score < stages[stage][0] - 1e-5) return stage;
  }
  return stages.length;
};

const alike = (a, b) => { // boxes [x, y, side]
  const most = 0.2 * Math.min(a[2], b[2]);
  return Math.abs(a[0] - b[0]) <= most && Math.abs(a[1] - b[1]) <= most
    && Math.abs(a[0] + a[2] - b[0] - b[2]) <= most && Math.abs(a[1] + a[2] - b[1] - b[2]) <= most;
};

const grouped = (boxes, neighbours) => { // OpenCV's groupRectangles: the mean of boxes that lie together
  const group = boxes.map((_, i) => i);
  boxes.forEach((box, i) => boxes.slice(0, i).forEach((other, j) => {
    if (group[i] !== group[j] && alike(box, other)) {
      const [from, to] = [group[i], group[j]];
      group.forEach((g, k) => { if (g === from) group[k] = to; });
    }
  }));
  const means = [...new Set(group)].map((g) => boxes.filter((_, i) => group[i] === g))
    .map((members) => ({ n: members.length, box: [0, 1, 2].map((k) => Math.round(
      members.reduce((sum, member) => sum + member[k], 0) / members.length)) }))
    .filter(({ n }) => n > neighbours);
  const within = ([x, y, s], [left, top, side]) => {
    const rim = Math.round(0.2 * side);
    return x >= left - rim && y >= top - rim && x + s <= left + side + rim && y + s <= top + side + rim;
  };
  return means.filter((one) => !means.some((other) => other !== one && within(one.box, other.box)
    && (other.n > Math.max(3, one.n) || one.n < 3))).map(({ box }) => box);
};

/** What a cascade finds in a grey image -> boxes [x, y, side]; OpenCV's detectMultiScale. */
export const detect = (cascade, image, { scale, neighbours, least, most = Infinity }) => {
  const found = [];
  for (let factor = 1; ; factor *= scale) {
    const side = Math.round(cascade.window * factor);
    if (side > Math.min(image.width, image.height, most)) return grouped(found, neighbours);
    if (side < least) continue;
    const small = shrink(image, Math.round(image.width / factor), Math.round(image.height / factor));
    const [sum, square] = [integral(small, 1), integral(small, 2)];
    const step = factor >= 2 ? 1 : 2;
    for (let y = 0; y <= small.height - cascade.window; y += step) {
      for (let x = 0; x <= small.width - cascade.window; x += step) {
        const stages = passed(cascade, sum, square, x, y);
        if (stages === cascade.stages.length) found.push([Math.round(x * factor), Math.round(y * factor), side]);
        if (stages === 0) x += step; // far from a face: its neighbour is left out
      }
    }
  }
};

/** The largest face of a grey image -> [x, y, side], or null. */
export const findFace = (cascades, image) => {
  const least = Math.max(24, Math.floor(Math.min(image.width, image.height) / 16));
  for (const name of ["frontalface_alt2", "frontalface_default"]) {
    const found = detect(cascades[name], image, { scale: 1.1, neighbours: 4, least });
    if (found.length) return found.reduce((a, b) => (b[2] > a[2] ? b : a));
  }
  return null;
};

/** The eyes in a face that fills a grey image of 240x240 -> [[x, y], [x, y]] as shares of its side, and whether they were seen. */
export const findEyes = (cascades, { data }) => {
  const seen = EYES_IN_BOX.map(([fx, fy]) => {
    const [left, top] = [Math.round((fx - 0.23) * 240), Math.round((fy - 0.22) * 240)];
    const rows = Array.from({ length: 106 }, (_, y) => data.subarray((top + y) * 240 + left, (top + y) * 240 + left + 110));
    const part = { data: Uint8Array.from(rows.flatMap((row) => [...row])), width: 110, height: 106 };
    const middles = detect(cascades.eye, part, { scale: 1.03, neighbours: 4, least: 30, most: 96 })
      .map(([x, y, side]) => [(left + x + side / 2) / 240, (top + y + side / 2) / 240]);
    const far = ([x, y]) => (x - fx) ** 2 + (y - fy) ** 2;
    return middles.sort((a, b) => far(a) - far(b))[0];
  });
  const apart = seen[0] && seen[1] ? seen[1][0] - seen[0][0] : 0;
  const good = apart >= 0.2 && Math.abs(seen[1][1] - seen[0][1]) <= 0.5 * apart;
  return { eyes: good ? seen : EYES_IN_BOX, seen: good };
};

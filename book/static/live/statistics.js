// What the quiz computes of a reader's answers. Pure functions; tests/test_live_latents.py holds them against scipy.

// The Wilson score interval of k successes in n trials (Wilson 1927): [low, high]. z: 1.96 for 95 %.
export function wilson(k, n, z = 1.959963984540054) {
  if (!n) return [0, 1];
  const share = k / n;
  const scale = 1 + z * z / n;
  const middle = (share + z * z / (2 * n)) / scale;
  const half = (z / scale) * Math.sqrt(share * (1 - share) / n + z * z / (4 * n * n));
  return [k === 0 ? 0 : middle - half, k === n ? 1 : middle + half];
}

// The chance that a tossed coin is right k times or more in n.
export function byGuessing(k, n) {
  let term = 0.5 ** n; // n over i, times 1/2 to the n, for i = 0, 1, ...
  let below = 0;
  for (let i = 0; i < k; i++) {
    below += term;
    term *= (n - i) / (i + 1);
  }
  return Math.max(0, 1 - below);
}

// The standard normal distribution: of x, by Abramowitz and Stegun's formula 26.2.17 (error below 1e-7).
function normal(x) {
  if (x < 0) return 1 - normal(-x);
  const t = 1 / (1 + 0.2316419 * x);
  const tail = t * (0.319381530 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))));
  return 1 - tail * Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI);
}

// Its quantile: the x below which a share p lies, by halving.
export function quantile(p) {
  let low = -8, high = 8;
  for (let i = 0; i < 60; i++) {
    const x = (low + high) / 2;
    if (normal(x) < p) low = x;
    else high = x;
  }
  return (low + high) / 2;
}

// Signal detection. hits: completed faces that were called completed; alarms: untouched ones that were. Half an answer is
// added to each cell (Hautus 1995), so that shares of 0 and 1 have a quantile. -> {sensitivity: d', criterion: c}.
export function detection(hits, completed, alarms, untouched) {
  const hit = quantile((hits + 0.5) / (completed + 1));
  const alarm = quantile((alarms + 0.5) / (untouched + 1));
  return { sensitivity: hit - alarm, criterion: -(hit + alarm) / 2 };
}

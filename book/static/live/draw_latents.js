// Latents drawn from the prior in the browser: noise z from a normal distribution, codes as facelib.latents.Layout draws them.
// The same seed gives the same face on every machine (but another one than PyTorch's generator of that seed).

function uniform(seed) { // mulberry32: 32 bits of state, numbers in [0, 1)
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

// layout: {z_dim, categorical, continuous, length}; spread: factor of z -> joined latents, Float32Array(length).
export function drawLatents(layout, seed, spread) {
  const next = uniform(seed);
  const normal = () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next()); // Box and Muller
  const latents = new Float32Array(layout.length);
  let place = 0;
  while (place < layout.z_dim) latents[place++] = spread * normal();
  for (const classes of layout.categorical) {
    latents[place + Math.floor(classes * next())] = 1;
    place += classes;
  }
  while (place < layout.length) latents[place++] = 2 * next() - 1;
  return latents;
}

// The features of a slot, from /api/v1/.../points.safetensors: one typed array per column, and the list of words that
// `word` indexes.
const COLUMN_TYPES = { I32: Int32Array, F32: Float32Array };

export async function readPoints(url) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
  const buffer = await answer.arrayBuffer();
  const begin = 8 + Number(new DataView(buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, begin - 8)));
  const points = { words: JSON.parse(header.__metadata__.words) };
  for (const [name, { dtype, shape, data_offsets }] of Object.entries(header)) {
    if (name !== "__metadata__") points[name] = new COLUMN_TYPES[dtype](buffer, begin + data_offsets[0], shape[0]);
  }
  points.length = points.feature.length;
  return points;
}

// Cards of features as rendered by the server, each fetched once.
export class PointCards {
  constructor(url) {
    this.url = url;
    this.known = new Map();
  }

  async html(feature) {
    if (!this.known.has(feature)) this.known.set(feature, await this.fetch(feature));
    return this.known.get(feature);
  }

  async fetch(feature) {
    const url = new URL(this.url, location.href);
    url.searchParams.set("feature", feature);
    const answer = await fetch(url, { headers: { "HX-Request": "true", "HX-Target": "point" } });
    if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
    return answer.text();
  }
}

// Minimum and maximum of a column, without NaN.
export function ends(column) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of column) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}

// Scales a column to 0..1 for coloring; NaN stays NaN. `logarithmic` for densities.
export function spread(column, logarithmic) {
  const values = Float32Array.from(column, logarithmic ? Math.log : undefined);
  const [low, high] = ends(values);
  return values.map((value) => (high > low ? (value - low) / (high - low) : value - value + 0.5));
}

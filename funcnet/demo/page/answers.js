// Answers of the server: a header in JSON and arrays behind it; see funcnet/demo/messages.py.

const KINDS_OF_ARRAY = { float32: Float32Array, uint8: Uint8Array, int8: Int8Array };

export function decoded(buffer) {
  const long = new DataView(buffer).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, long)));
  let at = 4 + long + ((4 - (long % 4)) % 4);
  for (const [name, dtype, shape] of head.arrays) {
    const size = shape.reduce((a, b) => a * b, 1),
      array = new KINDS_OF_ARRAY[dtype](buffer, at, size);
    head[name] = array;
    at += Math.ceil(array.byteLength / 4) * 4;
  }
  if (head.kind === "frame") head.layers = layersOf(head);
  return head;
}

// The flat arrays of a frame, layer by layer: weights, biases, values and gradients at its units.
function layersOf(frame) {
  let parameter = 0,
    unit = 0;
  return frame.sizes.slice(1).map((units, n) => {
    const hidden = n < frame.sizes.length - 2,
      pieces = hidden && frame.activation === "maxout" ? 2 : 1;
    const inputs = frame.sizes[n],
      weights = inputs * pieces * units,
      biases = pieces * units;
    const part = (array, from, size) => array.subarray(from, from + size);
    const at = (name) => part(frame[name], unit, units);
    const layer = {
      inputs,
      units,
      pieces,
      hidden,
      name: `layer${n + 1}`,
      w: part(frame.parameters, parameter, weights),
      b: part(frame.parameters, parameter + weights, biases),
      wTotal: part(frame.gradients, parameter, weights),
      wBar: part(frame.example_gradients, parameter, weights),
      bBar: part(frame.example_gradients, parameter + weights, biases),
      z: at("before"),
      zBar: at("before_bar"),
      a: at("after"),
      aBar: at("after_bar"),
      slopes: at("slopes"),
    };
    layer.values = n ? frame.after.subarray(unit - inputs, unit) : frame.x;
    layer.valuesBar = n ? frame.after_bar.subarray(unit - inputs, unit) : frame.x_bar;
    layer.winner = Array.from({ length: units }, (_, j) => winner(layer, j));
    layer.place = (i, j) => (i * pieces + layer.winner[j]) * units + j;
    parameter += weights + biases;
    unit += units;
    return layer;
  });
}

// Which piece of a maxout unit is the largest; the wires show its weights.
function winner({ inputs, pieces, units, w, b, values }, j) {
  const piece = (k) => values.reduce((sum, value, i) => sum + value * w[(i * pieces + k) * units + j], b[k * units + j]);
  return pieces === 1 || piece(0) >= piece(1) ? 0 : 1;
}

// A number in a few digits, as short as it goes.
export function short(value, digits = 3) {
  if (value === null || value === undefined || !Number.isFinite(value))
    return value === Infinity ? "∞" : value === -Infinity ? "−∞" : "–";
  const size = Math.abs(value);
  const text =
    size !== 0 && (size < 0.001 || size >= 10000)
      ? value.toExponential(digits - 2).replace("e+", "e")
      : String(Number(value.toPrecision(digits)));
  return text.replaceAll("-", "−");
}

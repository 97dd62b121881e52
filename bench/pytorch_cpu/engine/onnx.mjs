// Writes an ONNX model of one convolution (onnx/onnx.proto, opset 13). A protocol buffer is a list of tagged numbers and byte
// strings, so no library is needed.

/** Field numbers of onnx.proto. */
const MODEL = { irVersion: 1, graph: 7, opsetImport: 8 };
const OPSET = { version: 2 };
const GRAPH = { node: 1, name: 2, initializer: 5, input: 11, output: 12 };
const NODE = { input: 1, output: 2, opType: 4, attribute: 5 };
const ATTRIBUTE = { name: 1, ints: 8, type: 20 };
const TENSOR = { dims: 1, dataType: 2, name: 8, rawData: 9 };
const VALUE = { name: 1, type: 2 };
const TYPE = { tensor: 1 };
const TENSOR_TYPE = { elemType: 1, shape: 2 };
const SHAPE = { dim: 1 };
const DIMENSION = { value: 1 };
const FLOAT = 1;
const INTS = 7;

/** y = conv(x, weight) + bias, padded to keep the image size; x [N, C, H, W]. Weight and bias are constants of the model. */
export function convolutionModel({ batch, size, inputs, outputs, kernel, weight, bias }) {
  const node = message([
    ...['x', 'weight', 'bias'].map((name) => [NODE.input, name]),
    [NODE.output, 'y'],
    [NODE.opType, 'Conv'],
    [NODE.attribute, ints('kernel_shape', [kernel, kernel])],
    [NODE.attribute, ints('pads', Array(4).fill((kernel - 1) / 2))],
  ]);
  const graph = message([
    [GRAPH.node, node],
    [GRAPH.name, 'convolution'],
    [GRAPH.initializer, constant('weight', [outputs, inputs, kernel, kernel], weight)],
    [GRAPH.initializer, constant('bias', [outputs], bias)],
    [GRAPH.input, value('x', [batch, inputs, size, size])],
    [GRAPH.output, value('y', [batch, outputs, size, size])],
  ]);
  return message([
    [MODEL.irVersion, 8],
    [MODEL.graph, graph],
    [MODEL.opsetImport, message([[OPSET.version, 13]])],
  ]);
}

function ints(name, values) {
  return message([[ATTRIBUTE.name, name], ...values.map((v) => [ATTRIBUTE.ints, v]), [ATTRIBUTE.type, INTS]]);
}

function constant(name, shape, data) {
  return message([
    ...shape.map((extent) => [TENSOR.dims, extent]),
    [TENSOR.dataType, FLOAT],
    [TENSOR.name, name],
    [TENSOR.rawData, Buffer.from(data.buffer, data.byteOffset, data.byteLength)],
  ]);
}

function value(name, shape) {
  const dimensions = message(shape.map((extent) => [SHAPE.dim, message([[DIMENSION.value, extent]])]));
  const tensor = message([
    [TENSOR_TYPE.elemType, FLOAT],
    [TENSOR_TYPE.shape, dimensions],
  ]);
  return message([
    [VALUE.name, name],
    [VALUE.type, message([[TYPE.tensor, tensor]])],
  ]);
}

/** Encodes fields in order: a number as a varint; a string or bytes after its length. */
function message(fields) {
  return Buffer.concat(
    fields.flatMap(([field, content]) => {
      if (typeof content === 'number') return [varint(field << 3), varint(content)];
      const bytes = Buffer.from(content);
      return [varint((field << 3) | 2), varint(bytes.length), bytes];
    }),
  );
}

function varint(number) {
  const bytes = [];
  for (; number >= 128; number = Math.floor(number / 128)) bytes.push((number % 128) | 128);
  return Buffer.from([...bytes, number]);
}

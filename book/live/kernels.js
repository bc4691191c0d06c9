// What a graphics processor computes of a U-Net: six small programs in WGSL. Each is run by thousands of threads at once, and every thread
// makes one number of the result (a convolution: eight). All numbers are float32; what they mean is said by `p`, the sizes of one call.

const LiveKernels = (() => {
  "use strict";

  const head = (fields) => `
    struct Sizes { ${fields} }
    @group(0) @binding(0) var<uniform> p: Sizes;`;
  const read = (place, name) => `@group(0) @binding(${place}) var<storage, read> ${name}: array<f32>;`;
  const write = (place) => `@group(0) @binding(${place}) var<storage, read_write> out: array<f32>;`;

  // Number by number: a + b, say, or of one array alone: its sigmoid, or itself, which copies. `shape` is that of the result. A number of an
  // input lies at: at + index . strides. So a stride of 0 repeats, two that are swapped transpose, and the result may be a part of a larger one.
  const each = (expression, two = false) => `
    ${head("shape: vec4u, ofA: vec4u, ofB: vec4u, ofOut: vec4u, at: vec4u")}
    ${read(1, "first")} ${two ? read(2, "second") : ""} ${write(two ? 3 : 2)}
    @compute @workgroup_size(256) fn main(@builtin(global_invocation_id) id: vec3u) {
      let n = p.shape;
      if (id.x >= n.x * n.y * n.z * n.w) { return; }
      let index = vec4u(id.x / (n.y * n.z * n.w), id.x / (n.z * n.w) % n.y, id.x / n.w % n.z, id.x % n.w);
      let a = first[p.at.x + dot(index, p.ofA)];
      ${two ? "let b = second[p.at.y + dot(index, p.ofB)];" : ""}
      out[p.at.z + dot(index, p.ofOut)] = ${expression};
    }`;

  // out[b, o, y, x] = bias[o] + sum over i, j, c of weight[o, c, i, j] in[b, c, stride y + i - above, stride x + j - left], with 0 outside.
  // A thread makes eight channels of one pixel, so that a number of the input that was fetched serves eight times. The weights that it
  // then needs lie together, as a matrix of 2 x 4: webgpu.js has put them into the order (i, j, c, eight of o).
  const conv = `
    ${head("B: u32, c: u32, h: u32, w: u32, outC: u32, outH: u32, outW: u32, kernel: u32, stride: u32, above: u32, left: u32")}
    ${read(1, "x")} @group(0) @binding(2) var<storage, read> weight: array<mat2x4f>; ${read(3, "bias")} ${write(4)}
    @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
      let area = p.outH * p.outW;
      if (id.x >= p.B * area) { return; }
      let b = id.x / area;
      let row = id.x % area / p.outW * p.stride;
      let column = id.x % p.outW * p.stride;
      let eights = (p.outC + 7) / 8;
      var sum = mat2x4f();
      for (var i = 0u; i < p.kernel; i++) {
        let y = row + i - p.above; // less than 0 is more than any height, since u32 begins again at its end
        if (y >= p.h) { continue; }
        for (var j = 0u; j < p.kernel; j++) {
          let z = column + j - p.left;
          if (z >= p.w) { continue; }
          var at = (b * p.c * p.h + y) * p.w + z;
          var f = (i * p.kernel + j) * p.c * eights + id.y;
          for (var c = 0u; c < p.c; c++) {
            sum += x[at] * weight[f];
            at += p.h * p.w;
            f += eights;
          }
        }
      }
      for (var k = 0u; k < 8 && 8 * id.y + k < p.outC; k++) {
        let o = 8 * id.y + k;
        out[(b * p.outC + o) * area + id.x % area] = sum[k / 4][k % 4] + bias[o];
      }
    }`;

  // 64 threads put one number each on a shared board; half of them join pairs, then a quarter, until one number is left.
  const joined = (name, joinsTo) => `
    fn ${name}(mine: f32, lane: u32) -> f32 {
      board[lane] = mine;
      for (var reach = 32u; reach > 0; reach /= 2) {
        workgroupBarrier();
        if (lane < reach) { let a = board[lane]; let b = board[lane + reach]; board[lane] = ${joinsTo}; }
      }
      return workgroupUniformLoad(&board[0]);
    }`;
  const rows = (fields) => `
    ${head(fields)} ${read(1, "x")}
    var<workgroup> board: array<f32, 64>;
    ${joined("total", "a + b")}`;
  const main = "@compute @workgroup_size(64) fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32)";

  // Each group of channels: less its mean, over its standard deviation. The 64 threads of a workgroup share one group.
  const norm = `
    ${rows("groups: u32, count: u32, epsilon: f32")} ${read(2, "scale")} ${read(3, "shift")} ${write(4)}
    ${main} {
      let start = group.x * p.count;
      let g = group.x % p.groups;
      var sum = 0.0;
      for (var i = lane; i < p.count; i += 64) { sum += x[start + i]; }
      let mean = total(sum, lane) / f32(p.count);
      var squares = 0.0;
      for (var i = lane; i < p.count; i += 64) { let v = x[start + i] - mean; squares += v * v; }
      let factor = scale[g] / sqrt(total(squares, lane) / f32(p.count) + p.epsilon);
      for (var i = lane; i < p.count; i += 64) { out[start + i] = (x[start + i] - mean) * factor + shift[g]; }
    }`;

  // Each row: exp(x) over the sum of them. The row's largest number is taken off first, so that no exp overflows.
  const softmax = `
    ${rows("count: u32")} ${joined("most", "max(a, b)")} ${write(2)}
    ${main} {
      let start = group.x * p.count;
      var highest = x[start];
      for (var i = lane; i < p.count; i += 64) { highest = max(highest, x[start + i]); }
      let top = most(highest, lane);
      var sum = 0.0;
      for (var i = lane; i < p.count; i += 64) { sum += exp(x[start + i] - top); }
      let all = total(sum, lane);
      for (var i = lane; i < p.count; i += 64) { out[start + i] = exp(x[start + i] - top) / all; }
    }`;

  // out[b, i, j] = bias[j] + sum over k of a[b, i, k] b[b, k, j]. The strides are those of (b, row, column) of either, and where it begins.
  const matmul = (bias) => `
    ${head("n: vec4u, ofA: vec4u, ofB: vec4u")} // n: B, rows, columns, and how many numbers are summed
    ${read(1, "first")} ${read(2, "second")} ${bias ? read(3, "bias") : ""} ${write(bias ? 4 : 3)}
    @compute @workgroup_size(8, 8) fn main(@builtin(global_invocation_id) id: vec3u) {
      if (id.x >= p.n.z || id.y >= p.n.y) { return; }
      var a = p.ofA.w + dot(id.zy, p.ofA.xy);
      var b = p.ofB.w + dot(id.zx, p.ofB.xz);
      var sum = ${bias ? "bias[id.x]" : "0.0"};
      for (var k = 0u; k < p.n.w; k++) {
        sum += first[a] * second[b];
        a += p.ofA.z;
        b += p.ofB.y;
      }
      out[(id.z * p.n.y + id.y) * p.n.z + id.x] = sum;
    }`;

  // Rows of a table, by their numbers.
  const gather = `
    ${head("rows: u32, width: u32")} ${read(1, "table")} ${read(2, "row")} ${write(3)}
    @compute @workgroup_size(256) fn main(@builtin(global_invocation_id) id: vec3u) {
      if (id.x < p.rows * p.width) { out[id.x] = table[u32(row[id.x / p.width]) * p.width + id.x % p.width]; }
    }`;

  const names = { Add: "a + b", Sub: "a - b", Mul: "a * b", Div: "a / b" };
  const pointwise = Object.fromEntries(Object.entries(names).map(([op, expression]) => [op, each(expression, true)]));
  const sigmoid = each("1 / (1 + exp(min(-a, 80)))"); // 80: exp of much more overflows
  return { ...pointwise, Sigmoid: sigmoid, copy: each("a"), conv, norm, softmax, MatMul: matmul(false), Gemm: matmul(true), gather };
})();

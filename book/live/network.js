// Runs the exported networks in the page, also from file://, where a page may fetch nothing: what is large lies as text in scripts
// (runtime.js, NAME.js, made by the build), which are loaded when they are asked for.

const LiveNetwork = (() => {
  "use strict";

  const here = new URL(".", document.currentScript.src).href;
  const loaded = {}; // name -> promise: each file and each network is made once

  const once = (key, make) => {
    loaded[key] ??= make().catch((error) => {
      delete loaded[key]; // so that one may try again
      throw error;
    });
    return loaded[key];
  };

  /** What a script NAME.js of this folder puts into window.liveFiles. */
  const file = (name) =>
    new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = `${here}${name}.js`;
      script.onload = () => resolve(window.liveFiles[name]);
      script.onerror = () => reject(new Error(`the file live/${name}.js is missing beside this page`));
      document.head.append(script);
    });

  /** The bytes behind base64 of gzip. */
  async function unpack(text) {
    const packed = atob(text), bytes = new Uint8Array(packed.length);
    for (let i = 0; i < packed.length; i++) bytes[i] = packed.charCodeAt(i);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  const runtime = () =>
    once("runtime", async () => {
      const { module, wasm } = await file("runtime");
      const address = URL.createObjectURL(new Blob([module], { type: "text/javascript" }));
      const [ort, binary] = await Promise.all([import(address), unpack(wasm)]);
      URL.revokeObjectURL(address);
      ort.env.wasm.numThreads = 1; // more would need a server's headers
      ort.env.wasm.wasmBinary = binary;
      ort.env.logLevel = "error";
      delete window.liveFiles.runtime;
      return ort;
    });

  /**
   * A network by its name: {name, alphaBar, T, side, channels, size, classes, any, eps}.
   * `eps(xs, ts, labels)` takes a list of pictures, and the level and the label of each; it gives their predicted noises.
   */
  const load = (name) =>
    once(`network ${name}`, async () => {
      const [ort, { onnx, alphaBar, classes, side, channels }] = await Promise.all([runtime(), file(name)]);
      const session = await ort.InferenceSession.create(await unpack(onnx), { executionProviders: ["wasm"] });
      delete window.liveFiles[name].onnx;
      const size = channels * side * side;
      let turn = Promise.resolve(); // a session answers one call at a time

      async function run(xs, ts, labels) {
        const count = xs.length, x = new Float32Array(count * size);
        xs.forEach((one, i) => x.set(one, i * size));
        const feeds = {
          x: new ort.Tensor("float32", x, [count, channels, side, side]),
          t: new ort.Tensor("int64", BigInt64Array.from(ts, (t) => BigInt(t)), [count]),
          label: new ort.Tensor("int64", BigInt64Array.from(labels, (label) => BigInt(label)), [count]),
        };
        const { eps } = await session.run(feeds);
        return xs.map((_, i) => eps.data.slice(i * size, (i + 1) * size));
      }

      const eps = (xs, ts, labels) => {
        const answer = turn.then(() => run(xs, ts, labels));
        turn = answer.catch(() => {});
        return answer;
      };
      return { name, alphaBar, T: alphaBar.length - 1, side, channels, size, classes, any: classes.length, eps };
    });

  return { load };
})();

// Loads the exported networks and has them run: by webgpu.js where the browser lets a page use the graphics processor, and by ONNX Runtime,
// in WebAssembly, everywhere else. All of it also from file://, where a page may fetch nothing: what is large lies as text in scripts
// (runtime.js, NAME.js, made by the build), which are loaded when they are asked for.

const LiveNetwork = (() => {
  "use strict";

  const here = new URL(".", document.currentScript.src).href;
  const WARM = { calls: 60, ms: 3000 }; // at most: by then they become no faster
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
    once(`file ${name}`, () => new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = `${here}${name}.js`;
      script.onload = () => resolve(window.liveFiles[name]);
      script.onerror = () => reject(new Error(`the file live/${name}.js is missing beside this page`));
      document.head.append(script);
    }));

  /** The bytes behind base64 of gzip. */
  async function unpack(text) {
    const packed = atob(text), bytes = new Uint8Array(packed.length);
    for (let i = 0; i < packed.length; i++) bytes[i] = packed.charCodeAt(i);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  /** The runtime as it lies in its file: the text of its module, and the bytes of its program. */
  const runtimeFiles = () =>
    once("runtime", async () => {
      const { module, wasm } = await file("runtime");
      delete window.liveFiles.runtime;
      return { module, binary: await unpack(wasm) };
    });

  /** The ONNX file of a network. */
  const onnxOf = (name) =>
    once(`onnx ${name}`, async () => {
      const about = await file(name), bytes = await unpack(about.onnx);
      delete about.onnx;
      return bytes;
    });

  // ---------------------------------------------------------------- what runs a network: async functions (x, ts, labels) -> eps
  // x and eps hold the pictures one after another.

  /** The runtime with one network, in the page or in a worker: it is sent there as text, so it may use nothing from outside. */
  async function wasmSession({ module, binary, onnx, channels, side }) {
    const address = URL.createObjectURL(new Blob([module], { type: "text/javascript" }));
    const ort = await import(address);
    URL.revokeObjectURL(address);
    ort.env.wasm.numThreads = 1; // more would need a server's headers
    ort.env.wasm.wasmBinary = binary;
    ort.env.logLevel = "error";
    const session = await ort.InferenceSession.create(onnx, { executionProviders: ["wasm"] });
    const whole = (numbers) => new ort.Tensor("int64", BigInt64Array.from(numbers, (n) => BigInt(n)), [numbers.length]);
    return async (x, ts, labels) => {
      const pictures = new ort.Tensor("float32", x, [ts.length, channels, side, side]);
      return (await session.run({ x: pictures, t: whole(ts), label: whole(labels) })).eps.data;
    };
  }

  /** The same in a worker of its own. Its answers come in the order of its questions, the first to what it is made of. */
  function wasmWorker(parts) {
    const program = `${wasmSession}
      let answer, turn = Promise.resolve();
      onmessage = ({ data }) => (turn = turn.then(async () => {
        try {
          if (answer) postMessage({ eps: await answer(...data) });
          else { answer = await wasmSession(data); postMessage({}); }
        } catch (error) { postMessage({ error: String(error.message ?? error) }); }
      }));`;
    const address = URL.createObjectURL(new Blob([program], { type: "text/javascript" }));
    const worker = new Worker(address), asked = [];
    worker.onmessage = ({ data }) => (data.error === undefined ? asked.shift().resolve(data.eps) : asked.shift().reject(new Error(data.error)));
    worker.onerror = (event) => asked.splice(0).forEach(({ reject }) => reject(new Error(event.message || "the worker failed")));
    const ask = (data) => new Promise((resolve, reject) => (asked.push({ resolve, reject }), worker.postMessage(data)));
    return ask(parts).then(
      () => (...question) => ask(question),
      (error) => (worker.terminate(), Promise.reject(error)),
    ).finally(() => URL.revokeObjectURL(address));
  }

  /** A worker for each core, up to four, of which each takes its share of the pictures; the page itself where there are no workers. */
  async function byWasm(name) {
    const [{ module, binary }, onnx, { channels, side }] = await Promise.all([runtimeFiles(), onnxOf(name), file(name)]);
    const parts = { module, binary, onnx, channels, side }, size = channels * side * side;
    const count = Math.min(4, navigator.hardwareConcurrency || 1);
    let workers;
    try {
      workers = await Promise.all(Array.from({ length: count }, () => wasmWorker(parts)));
    } catch {
      workers = [await wasmSession(parts)];
    }
    return async (x, ts, labels) => {
      const n = ts.length, share = Math.ceil(n / workers.length), eps = new Float32Array(x.length);
      await Promise.all(workers.map(async (ask, k) => {
        const from = k * share, to = Math.min(n, from + share);
        if (from < to) eps.set(await ask(x.slice(from * size, to * size), ts.slice(from, to), labels.slice(from, to)), from * size);
      }));
      return eps;
    };
  }

  async function byWebGPU(name, software) {
    const { channels, side, check } = await file(name);
    return LiveWebGPU.open(await onnxOf(name), { channels, side, check, software });
  }

  let wanted = "auto"; // or "wasm", or "webgpu", by which a program that stands in for a graphics processor is taken, too

  /** What networks that are loaded from now on are to run on. */
  const prefer = (engine) => (wanted = engine);

  /**
   * A network by its name: {name, alphaBar, T, side, channels, size, classes, any, eps, engine, why}.
   * `eps(xs, ts, labels)` takes a list of pictures, and the level and the label of each; it gives their predicted noises.
   * `engine` is WebGPU or WebAssembly: the latter is there everywhere, and goes on wherever the former fails; `why` says why it had to.
   */
  const load = (name, on = wanted) => // as it is wanted now, whatever is wanted while the files come
    once(`network ${name} ${on}`, async () => {
      const { alphaBar, classes, side, channels } = await file(name), size = channels * side * side;
      const network = { name, alphaBar, T: alphaBar.length - 1, side, channels, size, classes, any: classes.length, engine: "WebGPU", why: "" };
      let answer;
      const fallBack = async (why) => {
        answer = await byWasm(name);
        Object.assign(network, { engine: "WebAssembly", why });
      };
      if (on === "wasm") await fallBack("");
      else await byWebGPU(name, on === "webgpu").then((found) => (answer = found), (error) => fallBack(error.message));

      async function run(xs, ts, labels) {
        const x = new Float32Array(xs.length * size);
        xs.forEach((one, i) => x.set(one, i * size));
        let eps;
        try {
          eps = await answer(x, ts, labels);
        } catch (error) {
          if (network.engine === "WebAssembly") throw error;
          await fallBack(error.message); // the processor was lost, say
          eps = await answer(x, ts, labels);
        }
        return xs.map((_, i) => eps.slice(i * size, (i + 1) * size));
      }

      let turn = Promise.resolve(); // one call at a time
      network.eps = (xs, ts, labels) => {
        const called = turn.then(() => run(xs, ts, labels));
        turn = called.catch(() => {});
        return called;
      };
      return network;
    });

  /**
   * Loads a network and calls it a few times, while `wanted()`: a browser compiles WebAssembly quickly first, and well only what it has
   * seen to be called often. What is found is thrown away. `called(n)` hears of every call.
   */
  async function warm(name, pictures, wanted, called) {
    const network = await load(name), x = new Float32Array(network.size), all = (value) => Array(pictures).fill(value);
    for (let n = 1, until = performance.now() + WARM.ms; n <= WARM.calls && performance.now() < until && wanted(); n++) {
      await network.eps(all(x), all(network.T), all(network.any));
      called(n);
    }
  }

  return { load, prefer, warm };
})();

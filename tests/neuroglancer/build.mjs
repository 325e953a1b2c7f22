// Bundles neuroglancer of the registry with the workers beside it: node build.mjs OUT
import { build } from "esbuild";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const out = process.argv[2];
const lib = createRequire(import.meta.url).resolve("neuroglancer").replace(/main_module\.js$/, "");

// The icons come from a repository, not from the registry; the test needs none.
const raw = {
  name: "raw",
  setup(build) {
    build.onResolve({ filter: /^ikonate\// }, ({ path }) => ({ path, namespace: "icon" }));
    build.onLoad({ filter: /.*/, namespace: "icon" }, () => ({ contents: "<svg></svg>", loader: "text" }));
    build.onResolve({ filter: /\?raw$/ }, async ({ path, resolveDir, kind }) => {
      const found = await build.resolve(path.replace(/\?raw$/, ""), { resolveDir, kind });
      return { path: found.path, namespace: "raw" };
    });
    build.onLoad({ filter: /.*/, namespace: "raw" }, ({ path }) => ({ contents: readFileSync(path, "utf8"), loader: "text" }));
  },
};

await build({
  entryPoints: {
    main: "main.js",
    "chunk_worker.bundle": lib + "chunk_worker.bundle.js",
    "async_computation.bundle": lib + "async_computation.bundle.js",
  },
  bundle: true,
  format: "esm",
  target: "es2022",
  outdir: out,
  plugins: [raw],
  loader: { ".svg": "text", ".html": "text" },
  logLevel: "error",
});

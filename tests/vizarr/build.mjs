// Takes vizarr from the only package of the registry that has it, Galaxy's, which opens a dataset of Galaxy's: the one place
// where it gives that to the viewer is given the viewer of our page instead. What it imports from the web, a decoder of JPEG 2000,
// is left out. Nothing else of it is changed.
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";

const [, , folder] = process.argv;
execFileSync("npm", ["pack", "--silent", "@galaxyproject/vizarr@0.1.8"]);
execFileSync("tar", ["xzf", "galaxyproject-vizarr-0.1.8.tgz"]);
const script = readFileSync("package/static/index.js", "utf8");
const name = "([\\w$]+)";
const opens = new RegExp(`const ${name}=await ${name}\\(${name}\\),${name}=\\{source:${name},name:${name}\\.name\\};\\1\\.addImage\\(\\4\\)`);
if (!opens.test(script)) throw new Error("the package opens its dataset in another way");
const imports = new RegExp(`import\\{\\w+ as ${name}\\}from"https:[^"]+"`);
mkdirSync(folder, { recursive: true });
writeFileSync(`${folder}/main.js`, script.replace(opens, "window.opened(await $2($3))").replace(imports, "class $1{}"));

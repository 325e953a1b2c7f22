// A page on Viv, the library that vizarr is a page on, that takes the same addresses: ?source=STORE
import { createElement } from "react";
import { createRoot } from "react-dom/client";
import { DETAIL_VIEW_ID, PictureInPictureViewer, loadOmeZarr } from "@hms-dbmi/viv";

const source = new URLSearchParams(location.search).get("source");
const { data, metadata } = await loadOmeZarr(source, { type: "multiscales" });
const [depth, height, width] = data[0].shape;
const { start, end } = metadata.omero.channels[0].window;
const z = Math.floor(depth / 2);
const zoom = Math.min(0, Math.log2(Math.min(innerWidth / width, innerHeight / height)));

window.shown = { z, zoom, shape: data[0].shape, labels: data[0].labels, window: [start, end] };
createRoot(document.getElementById("viewer")).render(createElement(PictureInPictureViewer, {
  loader: data,
  contrastLimits: [[start, end]],
  colors: [[255, 255, 255]],
  channelsVisible: [true],
  selections: [{ z }],
  width: innerWidth,
  height: innerHeight,
  overviewOn: false,
  viewStates: [{ id: DETAIL_VIEW_ID, target: [width / 2, height / 2, 0], zoom }],
  onViewportLoad: () => { window.drawn = true; },
}));

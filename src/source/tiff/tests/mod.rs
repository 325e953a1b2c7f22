mod codecs;
mod fixtures;
mod hostile;
mod layouts;
mod long_strips;
mod support;
mod text;

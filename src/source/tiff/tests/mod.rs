mod codecs;
mod fixtures;
mod hostile;
mod layouts;
mod long_strips;
mod sections;
mod support;
mod text;

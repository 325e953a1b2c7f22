mod codecs;
mod fixtures;
mod hostile;
mod layouts;
mod support;
mod text;

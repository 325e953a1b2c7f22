mod fixtures;
mod support;

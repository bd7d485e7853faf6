mod outcomes;
mod sentences;
mod steps;
mod watching;

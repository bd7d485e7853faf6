mod outcomes;
mod sentences;
mod steps;
mod sweeping;
mod watching;

mod outcomes;
mod seconds;
mod sentences;
mod steps;
mod sweeping;
mod watching;

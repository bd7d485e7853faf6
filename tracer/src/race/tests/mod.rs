mod forking;
mod outcomes;
mod seconds;
mod sentences;
mod shares;
mod steps;
mod sweeping;
mod watching;

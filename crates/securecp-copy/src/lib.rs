//! the engine: survey, plan, run.

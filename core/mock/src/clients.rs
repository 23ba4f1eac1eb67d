//! The client's side of an exchange against these doors.

mod amqp_tests;
mod hostile_tests;

//! Random draws as bytes on standard output, in the orders in which runs make them, for a battery of statistical tests:
//! `cargo run --release -p fleetstorm-units --example draws -- WAY | dieharder -a -g 200`.

use std::io::{BufWriter, ErrorKind, Write as _};

use fleetstorm_units::random::{Purpose, Seed};

/// Devices of the fleet that draws in turn.
const DEVICES: u32 = 10_000;

const PURPOSES: [Purpose; 8] = [
    Purpose::Arrival,
    Purpose::Poll,
    Purpose::Retry,
    Purpose::Assignment,
    Purpose::Network,
    Purpose::FaultChance,
    Purpose::Life,
    Purpose::Resample,
];

fn main() -> std::io::Result<()> {
    let way = std::env::args().nth(1).unwrap_or_default();
    let seed = Seed(1);
    let draw: fn(Seed, u64) -> u64 = match way.as_str() {
        // What one device draws in its life.
        "count" => |seed, n| seed.draw(Purpose::Retry, (n >> 32) as u32, n as u32),
        // What every device draws at its first failure, then at its second.
        "device" => |seed, n| seed.draw(Purpose::Retry, n as u32, (n >> 32) as u32),
        // A fleet whose devices fail in turn: both draws of a strategy.
        "fleet" => |seed, n| {
            let (draw, half) = (n / 2, n % 2);
            let devices = u64::from(DEVICES);
            seed.pair(Purpose::Retry, draw % devices, (draw / devices) as u32)[half as usize]
        },
        // One purpose after another of a device, then the next device.
        "purpose" => |seed, n| {
            let purpose = PURPOSES[(n % 8) as usize];
            seed.draw(purpose, (n / 8) as u32, (n >> 35) as u32)
        },
        // The same draw of runs with neighbouring seeds.
        "seed" => |seed, n| Seed(seed.0.wrapping_add(n)).draw(Purpose::Retry, 0, 0),
        _ => {
            eprintln!("usage: draws count|device|fleet|purpose|seed");
            std::process::exit(2);
        }
    };
    let mut out = BufWriter::with_capacity(1 << 16, std::io::stdout().lock());
    for n in 0.. {
        match out.write_all(&draw(seed, n).to_le_bytes()) {
            // The battery has had enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => break,
            other => other?,
        }
    }
    Ok(())
}

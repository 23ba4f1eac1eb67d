//! The targets for libFuzzer, one of them at a time: `FUZZ_TARGET` names it. Built without a fuzzer, it writes the seeds.

#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    static CHOSEN: std::sync::OnceLock<fn(&[u8])> = std::sync::OnceLock::new();
    let run = CHOSEN.get_or_init(|| {
        let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
        let found = fleetstorm_fuzz::TARGETS.iter().find(|target| target.name == name);
        found.unwrap_or_else(|| panic!("FUZZ_TARGET names no target: `{name}`")).run
    });
    run(bytes);
});

/// `fleetstorm-fuzz DIRECTORY`: the seeds of each target in a directory of its name, and the names on standard output.
#[cfg(not(fuzzing))]
fn main() -> std::io::Result<()> {
    let Some(directory) = std::env::args_os().nth(1) else {
        return Err(std::io::Error::other("name a directory for the seeds; `bash fuzz/run` does all of it"));
    };
    for target in fleetstorm_fuzz::TARGETS {
        let directory = std::path::Path::new(&directory).join(target.name);
        std::fs::create_dir_all(&directory)?;
        for (number, seed) in (target.seeds)().iter().enumerate() {
            std::fs::write(directory.join(format!("seed-{number:03}")), seed)?;
        }
        println!("{}", target.name);
    }
    Ok(())
}

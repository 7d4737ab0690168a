//! The kernel sources on the processor, for tests: a child process that a C compiler made of them.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::device::Machine;
use crate::error::DeviceError;
use crate::launch::Launch;
use crate::plain::{bytes_of, bytes_of_mut};
use crate::source::{BASE, Source};

const BEFORE: &str = include_str!("../emulation/emulation.h");
const FIBRES: &str = include_str!("../emulation/fibres.c");
const COMMANDS: &str = include_str!("../emulation/emulation.c");
/// No product is fused into a sum; values may be looked at as words.
const FLAGS: [&str; 6] = ["-std=gnu11", "-O1", "-g", "-ffp-contract=off", "-fno-strict-aliasing", "-w"];
/// Shared memory of a block, as on recent devices.
const SHARED: usize = 227 << 10;

/// A running emulation.
pub(crate) struct Emulation {
    pipes: Mutex<Pipes>,
    sources: &'static [Source],
}

struct Pipes {
    child: Child,
    input: Option<ChildStdin>,
    output: ChildStdout,
}

impl Emulation {
    /// Starts the program that the sources become. The threads of a block run in an order that the seed chooses.
    pub(crate) fn start(folder: &Path, seed: u64, sources: &'static [Source]) -> Result<Emulation, DeviceError> {
        let mut command = Command::new(build(folder, sources)?);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Ctrl-C in a terminal is for the program that uses the device: it stops when it is done with it.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn().map_err(|error| failed("start", &error))?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let output = output.ok_or_else(|| failed("start", &"it has no output"))?;
        let emulation = Emulation { pipes: Mutex::new(Pipes { child, input, output }), sources };
        emulation.ask("start", ['s' as u64, seed, 0, 0], &[], &mut [])?;
        Ok(emulation)
    }

    fn pipes(&self) -> MutexGuard<'_, Pipes> {
        self.pipes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a command and data, and reads a word and data.
    fn ask(&self, what: &'static str, command: [u64; 4], data: &[u8], into: &mut [u8]) -> Result<u64, DeviceError> {
        let mut pipes = self.pipes();
        pipes
            .exchange(command, data, into)
            .map_err(|error| DeviceError::Call { what, reason: pipes.last_words(&error) })
    }
}

impl Pipes {
    fn exchange(&mut self, command: [u64; 4], data: &[u8], into: &mut [u8]) -> io::Result<u64> {
        let input = self.input.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        input.write_all(bytes_of(&command))?;
        input.write_all(data)?;
        input.flush()?;
        let mut word = [0_u64];
        self.output.read_exact(bytes_of_mut(&mut word))?;
        self.output.read_exact(into)?;
        Ok(word[0])
    }

    /// Why the child ended, in its own words if it left any.
    fn last_words(&mut self, error: &io::Error) -> String {
        self.input = None;
        let mut said = String::new();
        if let Some(errors) = &mut self.child.stderr {
            // Whether that works or not: what is known already is told.
            let _ = errors.read_to_string(&mut said);
        }
        if said.trim().is_empty() { error.to_string() } else { said.trim().to_owned() }
    }
}

impl Drop for Emulation {
    fn drop(&mut self) {
        let mut pipes = self.pipes();
        // The end of its input ends the child.
        pipes.input = None;
        let _ = pipes.child.wait();
    }
}

impl fmt::Debug for Emulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Emulation")
    }
}

impl Machine for Emulation {
    fn name(&self) -> &str {
        "emulation on the processor"
    }

    fn shared(&self) -> usize {
        SHARED
    }

    fn allocate(&self, bytes: usize) -> Result<u64, DeviceError> {
        self.ask("allocate memory", ['a' as u64, 0, bytes as u64, 0], &[], &mut [])
    }

    fn free(&self, address: u64) {
        // A buffer is dropped after a failure too; the failure has been told then.
        let _ = self.ask("free memory", ['f' as u64, address, 0, 0], &[], &mut []);
    }

    fn write(&self, address: u64, bytes: &[u8]) -> Result<(), DeviceError> {
        self.ask("write memory", ['w' as u64, address, bytes.len() as u64, 0], bytes, &mut []).map(drop)
    }

    fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), DeviceError> {
        self.ask("read memory", ['r' as u64, address, bytes.len() as u64, 0], &[], bytes).map(drop)
    }

    fn clear(&self, address: u64, bytes: usize) -> Result<(), DeviceError> {
        self.ask("clear memory", ['z' as u64, address, bytes as u64, 0], &[], &mut []).map(drop)
    }

    fn copy(&self, to: u64, from: u64, bytes: usize) -> Result<(), DeviceError> {
        self.ask("copy memory", ['c' as u64, to, bytes as u64, from], &[], &mut []).map(drop)
    }

    fn launch(&self, launch: &Launch<'_>) -> Result<(), DeviceError> {
        let place = self.sources.iter().flat_map(|source| source.kernels).position(|kernel| *kernel == launch.kernel);
        let kernel = place.unwrap_or(usize::MAX) as u64;
        let words = [&[size_of_val(launch.words) as u64], launch.words].concat();
        let command = ['l' as u64, kernel, u64::from(launch.blocks), launch.shared as u64];
        self.ask("run a kernel", command, bytes_of(&words), &mut []).map(drop)
    }

    fn finish(&self) -> Result<(), DeviceError> {
        Ok(())
    }

    fn mark(&self) -> Result<u64, DeviceError> {
        Ok(0)
    }

    fn wait(&self, _: u64) -> Result<(), DeviceError> {
        Ok(())
    }

    fn forget(&self, _: u64) {}
}

fn failed(what: &'static str, reason: &dyn fmt::Display) -> DeviceError {
    DeviceError::Call { what, reason: reason.to_string() }
}

/// All sources and what runs them, as one C file.
fn program(sources: &[Source]) -> String {
    let bodies = sources.iter().map(|source| &source.text[BASE.len()..]).collect::<Vec<_>>().join("\n");
    let kernels = sources.iter().flat_map(|source| source.kernels).map(|kernel| format!("    ENTRY({kernel}),\n"));
    let table = format!("static const Kernel KERNELS[] = {{\n{}}};\n", kernels.collect::<String>());
    [BEFORE, BASE, &bodies, &table, FIBRES, COMMANDS].join("\n")
}

/// The compiled program, made unless the folder has it.
fn build(folder: &Path, sources: &[Source]) -> Result<PathBuf, DeviceError> {
    let (text, compiler) = (program(sources), std::env::var_os("CC").unwrap_or_else(|| "cc".into()));
    let mut hasher = DefaultHasher::new();
    (&text, &compiler, FLAGS).hash(&mut hasher);
    let name = format!("kernels-{:016x}", hasher.finish());
    let program = folder.join(&name);
    if program.exists() {
        return Ok(program);
    }
    // Others may build the same at this moment: each under its own name, and the last one stays.
    static BUILDS: AtomicUsize = AtomicUsize::new(0);
    let build = BUILDS.fetch_add(1, Ordering::Relaxed);
    let mine = folder.join(format!("{name}-{}-{build}", std::process::id()));
    let source = mine.with_extension("c");
    let written = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&source, text));
    written.map_err(|error| failed("write the emulation's source", &error))?;
    let mut command = Command::new(&compiler);
    command.args(FLAGS).arg("-o").arg(&mine).arg(&source).arg("-lm");
    let output = command.output().map_err(|error| failed("start the C compiler", &error))?;
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(DeviceError::Compile { source_name: "emulation", reason });
    }
    let placed = std::fs::rename(&mine, &program).and_then(|()| std::fs::remove_file(&source));
    placed.map_err(|error| failed("place the emulation", &error))?;
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    macro_rules! faulty {
        ($($kernel:literal),*) => {
            Source {
                name: "faulty",
                text: concat!(include_str!("../kernels/base.cuh"), include_str!("../emulation/faulty.cu")),
                kernels: &[$($kernel),*],
                exact: false,
            }
        };
    }

    /// Kernels with faults that the emulation must notice.
    const FAULTY: [Source; 1] = [faulty!("unordered", "beside", "astray", "beyond")];

    fn start(seed: u64) -> (tempfile::TempDir, Emulation) {
        let folder = tempfile::tempdir().unwrap();
        let emulation = Emulation::start(folder.path(), seed, &FAULTY).unwrap();
        (folder, emulation)
    }

    /// What 256 bytes are after a kernel, or what the emulation said.
    fn after(kernel: &'static str, seed: u64) -> Result<Vec<u8>, String> {
        let (_folder, emulation) = start(seed);
        let address = emulation.allocate(1024).unwrap();
        emulation.clear(address, 1024).unwrap();
        let launched = emulation.launch(&Launch { kernel, blocks: 1, shared: 1024, words: &[address] });
        launched.map_err(|error| error.to_string())?;
        let mut bytes = vec![0; 1024];
        emulation.read(address, &mut bytes).unwrap();
        Ok(bytes)
    }

    #[test]
    fn a_missing_barrier_shows_in_some_order() {
        assert_eq!(after("unordered", 0), after("unordered", 0));
        assert_ne!(after("unordered", 0), after("unordered", 1));
    }

    #[test]
    fn writing_outside_of_memory_is_noticed() {
        assert!(after("beside", 0).unwrap_err().contains("wrote beside its memory"));
        assert!(after("beyond", 0).unwrap_err().contains("wrote beside its memory"));
    }

    #[test]
    fn waiting_at_different_places_is_noticed() {
        assert!(after("astray", 0).unwrap_err().contains("wait for each other at different places"));
    }

    #[test]
    fn addresses_of_nothing_are_refused() {
        let (_folder, emulation) = start(0);
        assert!(emulation.read(8, &mut [0; 4]).unwrap_err().to_string().contains("no such memory"));
        // It has ended, and says so.
        assert!(emulation.allocate(8).is_err());
    }
}

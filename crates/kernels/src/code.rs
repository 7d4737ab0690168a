//! What the run-time compiler makes of a source, and whether it keeps the order of arithmetic.

use crate::cuda::compile;
use crate::error::DeviceError;
use crate::source::Source;

/// Instructions that would change bits: a product fused into a sum, and division or square root by approximation.
const INEXACT: [&str; 8] = ["fma.", "mad.f", "mad.rn.f", "div.full", ".approx", ".ftz", "rcp.", "ex2."];
/// Operations on floating-point numbers that the assembler may fuse unless their rounding is named.
const ROUNDED: [&str; 4] = ["add", "sub", "mul", "div"];

/// Assembly of a source for one architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Code {
    /// The assembly (PTX).
    pub text: String,
    /// Number of instructions on floating-point numbers that round.
    pub rounding: usize,
    /// Lines that could compute other bits than a processor does: an exact source must have none.
    pub inexact: Vec<String>,
}

impl Source {
    /// Compiles the source for an architecture such as `sm_90` with NVRTC, which needs no device.
    ///
    /// # Errors
    /// [`DeviceError::Absent`] where NVRTC is not installed, [`DeviceError::Compile`] with the compiler's words if it
    /// refuses the source.
    pub fn compile(&self, architecture: &str) -> Result<Code, DeviceError> {
        let code = compile(self, architecture)?;
        Ok(Code::read(code.to_src()))
    }
}

impl Code {
    fn read(text: String) -> Code {
        let instructions = text.lines().map(str::trim).filter(|line| !line.starts_with(['.', '/']));
        let inexact = instructions.clone().filter(|line| is_inexact(line)).map(str::to_owned).collect();
        let rounding = instructions.filter(|line| is_float(line)).count();
        Code { text, rounding, inexact }
    }
}

/// Whether an instruction rounds a floating-point number.
fn is_float(line: &str) -> bool {
    let name = line.split_whitespace().find(|word| !word.starts_with('@')).unwrap_or("");
    let (operation, kind) = name.split_once('.').unwrap_or((name, ""));
    ROUNDED.contains(&operation) && (kind.ends_with("f32") || kind.ends_with("f64"))
}

fn is_inexact(line: &str) -> bool {
    let unnamed = is_float(line) && !line.contains(".rn.");
    unnamed || INEXACT.iter().any(|part| line.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_be_fused_or_approximated_is_found() {
        let found = |line: &str| Code::read(line.to_owned()).inexact.len();
        for exact in
            ["add.rn.f32 %f1, %f2, %f3;", "@%p1 bra $L1;", "mul.wide.u32 %rd1, %r1, 4;", "add.s64 %rd1, %rd2, 8;"]
        {
            assert_eq!(found(exact), 0, "{exact}");
        }
        for inexact in [
            "add.f32 %f1, %f2, %f3;",
            "fma.rn.f32 %f1, %f2, %f3, %f4;",
            "@%p1 mul.f64 %fd1, %fd2, %fd3;",
            "div.full.f32 %f1;",
        ] {
            assert_eq!(found(inexact), 1, "{inexact}");
        }
        assert_eq!(Code::read("\tadd.rn.f32 %f1, %f2, %f3;\n// add.f32\n.version 8.8\n".to_owned()).rounding, 1);
    }
}

import CKernels

/// An instruction set that the kernels are compiled for. The best one is selected at run time.
package enum InstructionSet: String, CaseIterable, Sendable {
  /// x86-64 with AVX-512 (F, BW, DQ, VL), its bfloat16 and integer dot products (BF16, VNNI), and AMX.
  case amx
  /// x86-64 with AVX-512 (F, BW, DQ, VL) and its bfloat16 and integer dot products (BF16, VNNI).
  case avx512bf16
  /// x86-64 with AVX-512 (F, BW, DQ, VL).
  case avx512
  /// x86-64 with AVX2 and AVX-VNNI.
  case avxvnni
  /// x86-64 with AVX2, FMA and F16C.
  case avx2
  /// AArch64 with integer and bfloat16 dot products.
  case bf16
  /// AArch64 with integer dot products.
  case dotprod
  /// AArch64's baseline.
  case neon
  /// The baseline of any other architecture.
  case portable

  /// The instruction set of the calling thread: the processor's best, unless inside `run`.
  package static var current: InstructionSet { InstructionSet(rawValue: String(cString: ck_target())) ?? .portable }

  /// The environment variable that makes a run use the kernels for a lesser instruction set than the processor's best.
  package static let variable = "SWIFTLET_INSTRUCTION_SET"

  /// The instruction sets that the processor supports, the best first.
  package static var supported: [InstructionSet] { allCases.filter { $0.run {} != nil } }

  /// Makes the calling thread, and all that have not computed yet, use the kernels for this instruction set.
  package func use() { ck_select_usual_target(rawValue) }

  /// Runs `body` with the kernels for this instruction set, including the work it distributes to a thread pool. Calls
  /// from other threads are not affected.
  /// - Returns: `nil` if the processor doesn't support the instruction set; then `body` isn't called.
  package func run<Result>(_ body: () throws -> Result) rethrows -> Result? {
    let before = InstructionSet.current
    guard ck_select_target(rawValue) else { return nil }
    defer { ck_select_target(before.rawValue) }
    return try body()
  }
}

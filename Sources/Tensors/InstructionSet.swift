import CKernels

/// The instruction set that the kernels are run for.
package enum InstructionSet: String, CaseIterable, Sendable {
  /// x86-64 with AVX-512 (F, BW, DQ and VL) that multiplies bfloat16 and bytes as well.
  case avx512bf16
  /// x86-64 with AVX-512.
  case avx512
  /// x86-64 with AVX2 and AVX-VNNI.
  case avxvnni
  /// x86-64 with AVX2, FMA and F16C.
  case avx2
  /// AArch64 with dot products of bytes and of bfloat16.
  case bf16
  /// AArch64 with dot products of bytes.
  case dotprod
  /// What every AArch64 processor has.
  case neon
  /// What every processor of the architecture has.
  case portable

  /// What the calling thread uses: the best of the processor, unless inside `run`.
  package static var current: InstructionSet { InstructionSet(rawValue: String(cString: ck_target())) ?? .portable }

  /// Runs `body` with the kernels for this target, on all threads that it hands work to; `nil` if the processor
  /// cannot run them. Other threads' calls go on as they were.
  package func run<Result>(_ body: () throws -> Result) rethrows -> Result? {
    let before = InstructionSet.current
    guard ck_select_target(rawValue) else { return nil }
    defer { ck_select_target(before.rawValue) }
    return try body()
  }
}

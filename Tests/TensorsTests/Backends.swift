import Foundation
import TensorReferences
import Tensors
import Testing

/// What computed a result.
enum ComputeTarget: Equatable {
  case processor(InstructionSet)
  case gpu
}

extension Backend {
  /// The product of `a` and quantized weights, and that of `a` and the values that these stand for.
  func products(_ a: Operand, _ codes: Tensor, transposed: Bool) -> [[Float]] {
    let left = leftOperand(Columns(tensor(a.values, a.shape)), transposed: false)
    return [codes, converted(codes, to: .float32)].map { right in
      let into = empty([a.shape[0], transposed ? codes.rows : codes.columns], .float32)
      compute([Product([ProductTerm(left, right, transposed: transposed)], into: Columns(into))])
      return floats(into)
    }
  }
}

/// The backends for tests. Threads of a pool live as long as the process, so there is one backend of each kind.
enum Backends {
  static let byThreads = [1, 2, 3].map { CPUBackend(threads: $0, processors: $0) }
  static var single: CPUBackend { byThreads[0] }

  /// The GPU for tests: the one with the number in `SWIFTLET_TEST_GPU`, else a software device, else any.
  static let gpu: VulkanBackend? = {
    let devices = GPUDevice.all.filter { $0.missingFeature == nil }
    let number = ProcessInfo.processInfo.environment["SWIFTLET_TEST_GPU"].flatMap(Int.init)
    let device = number.map { number in devices.first { $0.index == number } } ?? devices.first(where: \.isSoftware)
    return (device ?? devices.first).flatMap { try? VulkanBackend($0) }
  }()

  /// Whether tests that need a device run: under CI also without one, to fail.
  static var expectsGPU: Bool { gpu != nil || ProcessInfo.processInfo.environment["CI"] != nil }

  /// Whether the GPU has matrix units, or should have.
  static var expectsMatrixUnits: Bool {
    gpu?.multipliesBFloat16 == true || ProcessInfo.processInfo.environment["SWIFTLET_TEST_MATRIX_UNITS"] != nil
  }

  /// Runs `body` for each instruction set and number of threads, expects the same bits from every number of threads,
  /// and returns the result of each instruction set. If there is a GPU, it runs twice there, with the same bits, and
  /// its result comes last.
  static func results(
    sourceLocation: SourceLocation = #_sourceLocation,
    _ body: (any Backend) -> [[Float]]
  ) -> [(target: ComputeTarget, values: [[Float]])] {
    processorResults(sourceLocation, body) + gpuResults(sourceLocation, body)
  }

  private static func gpuResults(
    _ sourceLocation: SourceLocation, _ body: (any Backend) -> [[Float]]
  ) -> [(target: ComputeTarget, values: [[Float]])] {
    guard let gpu else {
      #expect(
        !expectsGPU, "no Vulkan device; install mesa-vulkan-drivers and libvulkan1", sourceLocation: sourceLocation)
      return []
    }
    let found = [body(gpu), body(gpu)]
    #expect(throws: Never.self, sourceLocation: sourceLocation) { try gpu.check() }
    for (index, (a, b)) in zip(found[0], found[1]).enumerated() {
      #expect(sameBits(a, b), "GPU, array \(index): the second time gives other bits", sourceLocation: sourceLocation)
    }
    return [(.gpu, found[0])]
  }

  private static func processorResults(
    _ sourceLocation: SourceLocation, _ body: (any Backend) -> [[Float]]
  ) -> [(target: ComputeTarget, values: [[Float]])] {
    InstructionSet.allCases.compactMap { target in
      target.run {
        let found = byThreads.map(body)
        for other in found.dropFirst() {
          #expect(other.count == found[0].count, sourceLocation: sourceLocation)
          for (index, (a, b)) in zip(found[0], other).enumerated() {
            #expect(
              sameBits(a, b), "\(target), array \(index): threads change the result", sourceLocation: sourceLocation)
          }
        }
        return (.processor(target), found[0])
      }
    }
  }
}

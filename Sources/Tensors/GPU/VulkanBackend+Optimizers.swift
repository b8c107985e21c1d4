import Diagnostics
import Synchronization

/// The levels and boundaries of 8-bit moments in device memory, uploaded once.
final class DynamicMapCache: Sendable {
  private let memory = Mutex<DeviceMemory?>(nil)

  func memory(make: ([Float]) -> DeviceMemory) -> DeviceMemory {
    memory.withLock { known in
      if let known { return known }
      let maps = [DynamicMap.signed, .unsigned]
      let made = make(maps.flatMap { $0.values + $0.boundaries })
      known = made
      return made
    }
  }
}

extension VulkanBackend {
  private struct UpdateArguments: BitwiseCopyable {
    var weight, gradient, m: UInt64
    var v: UInt64 = 0
    var count: UInt32
    var learningRate, beta1, rest1, beta2, rest2: Float
    var epsilon: Float = 0
    var weightDecay: Float
    var correction1: Float = 1
    var correction2: Float = 1
    var gradientScale: Float
  }

  private struct EightBitUpdateArguments: BitwiseCopyable {
    var update: UpdateArguments
    // Pointers are aligned to 8 bytes.
    var padding: UInt32 = 0
    var mCodes: UInt64
    var vCodes: UInt64 = 0
    var maps: UInt64
  }

  /// Allocates zeros in host memory, which the device reads and writes over the bus.
  public func pagedZeros(_ shape: [Int], _ type: ElementType, in folder: String) throws(SwiftletError) -> Tensor {
    let tensor = allocate(shape, type, inHostMemory: true)
    clear(tensor)
    try device.check()
    return tensor
  }

  private var maps: UInt64 { dynamicMaps.memory { uploadedArray($0) }.address }

  /// Runs one thread per element, or one group of threads per block of 8-bit moments.
  public func adamW(_ weight: Tensor, gradient: Tensor, m: Moment, v: Moment, _ step: AdamWStep) {
    device.operation {
      var arguments = UpdateArguments(
        weight: address(weight), gradient: address(gradient), m: 0, count: UInt32(weight.count),
        learningRate: step.learningRate, beta1: Float(step.beta1), rest1: Float(1 - step.beta1),
        beta2: Float(step.beta2), rest2: Float(1 - step.beta2), epsilon: step.epsilon, weightDecay: step.weightDecay,
        correction1: step.correction1, correction2: step.correction2, gradientScale: step.gradientScale)
      switch (m, v) {
      case (.float32(let m), .float32(let v)):
        (arguments.m, arguments.v) = (address(m), address(v))
        device.run("adamW", arguments, groupCount: groups(weight.count))
      case (.eightBit(let m, let mAbsmax), .eightBit(let v, let vAbsmax)):
        (arguments.m, arguments.v) = (address(mAbsmax), address(vAbsmax))
        device.run(
          "adamWBytes",
          EightBitUpdateArguments(update: arguments, mCodes: address(m), vCodes: address(v), maps: maps),
          groupCount: groups(weight.count, of: Moment.blockLength))
      default: preconditionFailure("both moments have the same format")
      }
    }
  }

  /// Runs one thread per element, or one group of threads per block of 8-bit moments.
  public func lion(_ weight: Tensor, gradient: Tensor, m: Moment, _ step: LionStep) {
    device.operation {
      var arguments = UpdateArguments(
        weight: address(weight), gradient: address(gradient), m: 0, count: UInt32(weight.count),
        learningRate: step.learningRate, beta1: Float(step.beta1), rest1: Float(1 - step.beta1),
        beta2: Float(step.beta2), rest2: Float(1 - step.beta2), weightDecay: step.weightDecay,
        gradientScale: step.gradientScale)
      switch m {
      case .float32(let m):
        arguments.m = address(m)
        device.run("lion", arguments, groupCount: groups(weight.count))
      case .eightBit(let m, let absmax):
        arguments.m = address(absmax)
        device.run(
          "lionBytes", EightBitUpdateArguments(update: arguments, mCodes: address(m), maps: maps),
          groupCount: groups(weight.count, of: Moment.blockLength))
      }
    }
  }

  /// Runs one thread per element.
  public func sgd(_ weight: Tensor, gradient: Tensor, buffer: Tensor?, _ step: SGDStep) {
    device.operation {
      let arguments = DescentArguments(
        weight: address(weight), gradient: address(gradient), buffer: address(buffer), count: UInt32(weight.count),
        learningRate: step.learningRate, momentum: step.momentum, dampening: step.dampening,
        weightDecay: step.weightDecay, gradientScale: step.gradientScale, nesterov: step.nesterov ? 1 : 0,
        isFirst: step.isFirst ? 1 : 0)
      device.run("sgd", arguments, groupCount: groups(weight.count))
    }
  }

  private struct DescentArguments: BitwiseCopyable {
    var weight, gradient, buffer: UInt64
    var count: UInt32
    var learningRate, momentum, dampening, weightDecay, gradientScale: Float
    var nesterov, isFirst: UInt32
  }

  /// Runs one kernel per pass over the gradient; nothing is read back.
  public func adafactor(_ weight: Tensor, gradient: Tensor, squares: AdafactorMoment, _ step: AdafactorStep) {
    device.operation {
      let sums = allocate([1 + groups(weight.count, of: 16384)])
      var arguments = AdafactorArguments(
        weight: address(weight), gradient: address(gradient), rowMeans: 0, columnMeans: 0, sums: address(sums), rows: 1,
        columns: UInt32(weight.count), gradientScale: step.gradientScale, epsilon: step.epsilon, decay: step.decay,
        learningRate: step.learningRate, weightDecay: step.weightDecay, clipThreshold: step.clipThreshold)
      switch squares {
      case .full(let squares): arguments.columnMeans = address(squares)
      case .factored(let rows, let columns):
        (arguments.rowMeans, arguments.columnMeans) = (address(rows), address(columns))
        (arguments.rows, arguments.columns) = (UInt32(gradient.rows), UInt32(gradient.columns))
        device.run("adafactorRows", arguments, groupCount: gradient.rows)
        device.run("adafactorColumns", arguments, groups: (groups(gradient.columns, of: 16), 1, 1), needsBarrier: false)
        device.run("adafactorMean", arguments, groupCount: 1)
      }
      device.run("adafactorDivide", arguments, groupCount: groups(weight.count))
      sumSquares(of: [gradient], into: sums, first: 1)
      device.run("adafactorApply", arguments, groupCount: groups(weight.count, of: 128))
    }
  }

  private struct AdafactorArguments: BitwiseCopyable {
    var weight, gradient, rowMeans, columnMeans, sums: UInt64
    var rows, columns: UInt32
    var gradientScale, epsilon, decay, learningRate, weightDecay, clipThreshold: Float
  }
}

extension VulkanBackend {
  private struct NormArguments: BitwiseCopyable {
    var x, residual, sum, weight, out, inverse: UInt64
    var rows, columns, heads, stride, outStride: UInt32
    var offset, epsilon: Float
  }

  private struct NormGradientArguments: BitwiseCopyable {
    var x, weight, inverse, dOut, dx: UInt64
    var rows, columns, heads, stride, gradientStride: UInt32
    var offset: Float
    var accumulate: UInt32
  }

  struct ElementArguments: BitwiseCopyable {
    var y: UInt64
    var x: UInt64 = 0
    var other: UInt64 = 0
    var count: UInt32
    var columns: UInt32 = 1
    var stride: UInt32 = 1
    var factor: Float = 0
    var flag: UInt32 = 0
  }

  func run(_ kernel: StaticString, _ arguments: ElementArguments) {
    device.run(kernel, arguments, groupCount: groups(Int(arguments.count)))
  }

  /// Runs one group of threads per row.
  public func rmsNorm(
    _ x: Tensor, residual: Tensor?, weight: Tensor, offset: Float, epsilon: Float
  ) -> (sum: Tensor, out: Tensor, inverseRMS: Tensor) {
    device.operation {
      let sum = residual == nil ? x : allocate(x.shape)
      let out = allocate(x.shape)
      let inverse = allocate([x.rows])
      let arguments = NormArguments(
        x: address(x), residual: address(residual), sum: address(sum), weight: address(weight), out: address(out),
        inverse: address(inverse), rows: UInt32(x.rows), columns: UInt32(x.columns), heads: 1,
        stride: UInt32(x.columns),
        outStride: UInt32(x.columns), offset: offset, epsilon: epsilon)
      device.run("norm", arguments, groupCount: x.rows)
      return (sum, out, inverse)
    }
  }

  /// Runs one group of threads per row.
  public func recomputedRMSNorm(_ x: Tensor, weight: Tensor, offset: Float, inverseRMS: Tensor) -> Tensor {
    device.operation {
      let out = allocate(x.shape)
      let arguments = NormArguments(
        x: address(x), residual: 0, sum: 0, weight: address(weight), out: address(out), inverse: address(inverseRMS),
        rows: UInt32(x.rows), columns: UInt32(x.columns), heads: 1, stride: UInt32(x.columns),
        outStride: UInt32(x.columns), offset: offset, epsilon: 0)
      device.run("normed", arguments, groupCount: x.rows)
      return out
    }
  }

  /// Runs one group of threads per row.
  public func rmsNormBackward(
    _ x: Tensor, weight: Tensor, offset: Float, inverseRMS: Tensor, dOut: Tensor, into: Tensor, accumulate: Bool
  ) {
    device.operation {
      let arguments = NormGradientArguments(
        x: address(x), weight: address(weight), inverse: address(inverseRMS), dOut: address(dOut), dx: address(into),
        rows: UInt32(x.rows), columns: UInt32(x.columns), heads: 1, stride: UInt32(x.columns),
        gradientStride: UInt32(x.columns), offset: offset, accumulate: accumulate ? 1 : 0)
      device.run("normBackward", arguments, groupCount: x.rows)
    }
  }

  /// Runs one group of threads per 16 columns, each over all rows.
  public func rmsNormWeightGradient(_ x: Tensor, inverseRMS: Tensor, dOut: Tensor, into: Tensor) {
    device.operation {
      let arguments = NormGradientArguments(
        x: address(x), weight: 0, inverse: address(inverseRMS), dOut: address(dOut), dx: address(into),
        rows: UInt32(x.rows), columns: UInt32(x.columns), heads: 1, stride: UInt32(x.columns),
        gradientStride: UInt32(x.columns), offset: 0, accumulate: 1)
      device.run("normWeightGradient", arguments, groups: (groups(x.columns, of: 16), 1, 1))
    }
  }

  /// Runs one group of threads per head of a row.
  public func headNorm(_ x: Columns, heads: Int, weight: Tensor, offset: Float, epsilon: Float) -> Tensor {
    device.operation {
      let inverse = allocate([x.rows, heads])
      let stride = UInt32(x.tensor.columns)
      let arguments = NormArguments(
        x: address(x), residual: 0, sum: 0, weight: address(weight), out: address(x), inverse: address(inverse),
        rows: UInt32(x.rows * heads), columns: UInt32(x.count / heads), heads: UInt32(heads), stride: stride,
        outStride: stride, offset: offset, epsilon: epsilon)
      device.run("norm", arguments, groupCount: x.rows * heads)
      return inverse
    }
  }

  /// Runs one group of threads per head of a row; the weight gradient has a kernel of its own.
  public func headNormBackward(
    _ x: Columns, heads: Int, weight: Tensor, offset: Float, inverseRMS: Tensor, dx: Columns, weightGradient: Tensor?
  ) {
    device.operation {
      var arguments = NormGradientArguments(
        x: address(x), weight: address(weight), inverse: address(inverseRMS), dOut: address(dx),
        dx: address(weightGradient), rows: UInt32(x.rows * heads), columns: UInt32(x.count / heads),
        heads: UInt32(heads), stride: UInt32(x.tensor.columns), gradientStride: UInt32(dx.tensor.columns),
        offset: offset, accumulate: 1)
      if weightGradient != nil {
        device.run("normWeightGradient", arguments, groups: (groups(x.count / heads, of: 16), 1, 1))
      }
      arguments.dx = arguments.dOut
      arguments.accumulate = 0
      device.run("normBackward", arguments, groupCount: x.rows * heads)
    }
  }

  /// Runs one thread per pair of elements.
  public func rotary(_ x: Columns, heads: Int, cosines: Tensor, sines: Tensor, inverse: Bool) {
    device.operation {
      let (cosines, sines) = (uploaded(cosines), uploaded(sines))
      let count = x.rows * heads * cosines.columns
      let arguments = RotaryArguments(
        x: address(x), cosines: address(cosines), sines: address(sines), count: UInt32(count), heads: UInt32(heads),
        headDim: UInt32(x.count / heads), halfRotated: UInt32(cosines.columns), stride: UInt32(x.tensor.columns),
        sign: inverse ? -1 : 1)
      device.run("rotary", arguments, groupCount: groups(count))
    }
  }

  private struct RotaryArguments: BitwiseCopyable {
    var x, cosines, sines: UInt64
    var count, heads, headDim, halfRotated, stride: UInt32
    var sign: Float
  }

  /// Runs one thread per element of the result.
  public func gatedActivation(_ gateUp: Tensor, _ activation: Activation) -> Tensor {
    device.operation {
      let out = allocate([gateUp.rows, gateUp.columns / 2])
      run(
        "gated",
        ElementArguments(
          y: address(out), x: address(gateUp), count: UInt32(out.count), columns: UInt32(out.columns),
          flag: UInt32(activation.kernelCode)))
      return out
    }
  }

  /// Runs one thread per element of `dOut`.
  public func gatedActivationBackward(_ gateUp: Tensor, dOut: Tensor, _ activation: Activation) -> Tensor {
    device.operation {
      let dGateUp = allocate(gateUp.shape)
      run(
        "gatedBackward",
        ElementArguments(
          y: address(dGateUp), x: address(gateUp), other: address(dOut), count: UInt32(dOut.count),
          columns: UInt32(dOut.columns), flag: UInt32(activation.kernelCode)))
      return dGateUp
    }
  }

  /// Runs one thread per element.
  public func silu(_ x: Tensor) -> Tensor {
    device.operation {
      let out = allocate(x.shape)
      run("silu", ElementArguments(y: address(out), x: address(x), count: UInt32(out.count)))
      return out
    }
  }

  /// Runs one thread per element.
  public func siluBackward(_ x: Tensor, dOut: Tensor) -> Tensor {
    device.operation {
      let dx = allocate(x.shape)
      run(
        "siluBackward",
        ElementArguments(y: address(dx), x: address(x), other: address(dOut), count: UInt32(dx.count)))
      return dx
    }
  }

  /// Runs one thread per element.
  public func add(_ x: Tensor, scale: Float, into y: Tensor) {
    device.operation {
      precondition(x.count == y.count, "tensors that are added have the same number of elements")
      let x = uploaded(x)
      run("add", ElementArguments(y: address(y), x: address(x), count: UInt32(y.count), factor: scale))
    }
  }

  /// Runs one thread per element, in place.
  public func scale(_ y: Tensor, by factor: Float) {
    device.operation {
      run("scale", ElementArguments(y: address(y), x: address(y), count: UInt32(y.count), factor: factor))
    }
  }

  /// Runs one thread per element, into a new tensor.
  public func scaled(_ x: Tensor, _ scale: Float) -> Tensor {
    device.operation {
      let (x, y) = (uploaded(x), allocate(x.shape))
      run("scale", ElementArguments(y: address(y), x: address(x), count: UInt32(y.count), factor: scale))
      return y
    }
  }

  /// Runs one thread per element.
  public func scaleRows(_ y: Tensor, by factors: Tensor) {
    device.operation {
      precondition(factors.count == y.rows, "a factor for each row")
      run(
        "scaleRows",
        ElementArguments(y: address(y), x: address(factors), count: UInt32(y.count), columns: UInt32(y.columns)))
    }
  }

  /// Runs one thread per element.
  public func addBias(_ bias: Tensor, to y: Columns) {
    device.operation {
      run(
        "addBias",
        ElementArguments(
          y: address(y), x: address(bias), count: UInt32(y.rows * y.count), columns: UInt32(y.count),
          stride: UInt32(y.tensor.columns)))
    }
  }

  /// Runs one group of threads per 16 columns, each over all rows.
  public func addColumnSums(_ dy: Columns, into: Tensor) {
    device.operation {
      let arguments = ColumnSumArguments(
        x: address(dy), into: address(into), rows: UInt32(dy.rows), columns: UInt32(dy.count),
        stride: UInt32(dy.tensor.columns))
      device.run("columnSums", arguments, groupCount: groups(dy.count, of: 16))
    }
  }

  private struct ColumnSumArguments: BitwiseCopyable { var x, into: UInt64, rows, columns, stride: UInt32 }

  /// Runs one thread per element; the masks are those of the CPU backend.
  public func dropout(_ x: Tensor, rate: Float, key: UInt64, into: Tensor, accumulate: Bool) {
    device.operation {
      let arguments = DropoutArguments(
        x: address(x), out: address(into), key: key, count: UInt32(x.count), threshold: UInt32(rate * 16_777_216),
        scale: 1 / (1 - rate), accumulate: accumulate ? 1 : 0)
      device.run("dropout", arguments, groupCount: groups(x.count))
    }
  }

  private struct DropoutArguments: BitwiseCopyable {
    var x, out, key: UInt64
    var count, threshold: UInt32
    var scale: Float
    var accumulate: UInt32
  }

  /// See ``Backend``. Computed by the CPU.
  public func divergence(
    _ logits: Tensor, from teacher: Tensor, targets: [Int32], beta: Float, temperature: Float, gradientScale: Float?,
    softcap: Float, into result: Tensor
  ) {
    let host = CPUBackend.shared
    let values = floats([logits, teacher]).map { host.tensor($0, logits.shape) }
    let found = host.empty(result.shape, .float32)
    host.divergence(
      values[0], from: values[1], targets: targets, beta: beta, temperature: temperature, gradientScale: gradientScale,
      softcap: softcap, into: found)
    if gradientScale != nil { copy(tensor(host.floats(values[0]), logits.shape), to: logits) }
    copy(tensor(host.floats(found), found.shape), to: result)
  }

  /// See ``Backend``. Computed by the CPU.
  public func logitStatistics(_ logits: Tensor, softcap: Float) -> Tensor {
    let host = CPUBackend.shared
    let found = host.logitStatistics(host.tensor(floats(logits), logits.shape), softcap: softcap)
    return tensor(host.floats(found), found.shape)
  }
}

/// The rows that a convolution reads, and how many there are.
struct ConvolutionKey: Equatable, Sendable {
  let taps: ConvolutionTaps
  let inputRows: Int
}

/// The taps of a convolution, and for each row of its input the taps that read it.
struct ConvolutionLists: Sendable {
  let taps, starts, readers: DeviceMemory
}

/// Products element by element and depthwise convolutions.
extension VulkanBackend {
  private struct MultiplyArguments: BitwiseCopyable {
    var a, b, out: UInt64
    var count, columns, aStride, bStride, outStride, accumulate: UInt32
  }

  /// Runs one thread per element.
  public func multiply(_ a: Columns, _ b: Columns, into: Columns, accumulate: Bool) {
    precondition(a.count == b.count && a.count == into.count && a.rows == b.rows && a.rows == into.rows)
    device.operation {
      let arguments = MultiplyArguments(
        a: address(a), b: address(b), out: address(into), count: UInt32(a.rows * a.count), columns: UInt32(a.count),
        aStride: UInt32(a.tensor.columns), bStride: UInt32(b.tensor.columns), outStride: UInt32(into.tensor.columns),
        accumulate: accumulate ? 1 : 0)
      device.run("multiply", arguments, groupCount: groups(a.rows * a.count))
    }
  }

  private func lists(_ taps: ConvolutionTaps, inputRows: Int) -> ConvolutionLists {
    convolutionTaps.lists(ConvolutionKey(taps: taps, inputRows: inputRows)) {
      var starts = [UInt32](repeating: 0, count: inputRows + 1)
      for row in taps.rows where row >= 0 { starts[Int(row) + 1] += 1 }
      for row in 0..<inputRows { starts[row + 1] += starts[row] }
      var next = starts
      var readers = [UInt32](repeating: 0, count: Int(starts[inputRows]))
      for (place, row) in taps.rows.enumerated() where row >= 0 {
        readers[Int(next[Int(row)])] = UInt32(place)
        next[Int(row)] += 1
      }
      return ConvolutionLists(
        taps: uploadedArray(taps.rows), starts: uploadedArray(starts), readers: uploadedArray(readers))
    }
  }

  private struct ConvolutionArguments: BitwiseCopyable {
    var x, weight, bias, out, taps: UInt64
    var count, channels, length: UInt32
  }

  /// Runs one thread per element of the result.
  public func convolution(_ x: Tensor, weight: Tensor, bias: Tensor?, taps: ConvolutionTaps) -> Tensor {
    device.operation {
      let out = allocate([taps.rows.count / taps.length, x.columns])
      let arguments = ConvolutionArguments(
        x: address(x), weight: address(weight), bias: address(bias), out: address(out),
        taps: lists(taps, inputRows: x.rows).taps.address, count: UInt32(out.count), channels: UInt32(x.columns),
        length: UInt32(taps.length))
      device.run("convolution", arguments, groupCount: groups(out.count))
      return out
    }
  }

  private struct InputGradientArguments: BitwiseCopyable {
    var dOut, weight, dx, starts, readers: UInt64
    var count, channels, length: UInt32
  }

  private struct WeightGradientArguments: BitwiseCopyable {
    var x, dOut, dWeight, taps: UInt64
    var rows, channels, length: UInt32
  }

  /// Runs one thread per element of the input's gradient, and for the weight's one group per 16 channels of a tap.
  public func convolutionBackward(
    _ x: Tensor, weight: Tensor, taps: ConvolutionTaps, dOut: Tensor, dWeight: Tensor?, dBias: Tensor?
  ) -> Tensor {
    device.operation {
      let dx = allocate(x.shape)
      let lists = lists(taps, inputRows: x.rows)
      let arguments = InputGradientArguments(
        dOut: address(dOut), weight: address(weight), dx: address(dx), starts: lists.starts.address,
        readers: lists.readers.address, count: UInt32(dx.count), channels: UInt32(x.columns),
        length: UInt32(taps.length))
      device.run("convolutionInputGradient", arguments, groupCount: groups(dx.count))
      if let dWeight {
        let arguments = WeightGradientArguments(
          x: address(x), dOut: address(dOut), dWeight: address(dWeight), taps: lists.taps.address,
          rows: UInt32(dOut.rows), channels: UInt32(x.columns), length: UInt32(taps.length))
        device.run(
          "convolutionWeightGradient", arguments, groups: (groups(x.columns, of: 16), taps.length, 1))
      }
      if let dBias { addColumnSums(Columns(dOut), into: dBias) }
      return dx
    }
  }
}

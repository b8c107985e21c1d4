/// Conversion, and operations on the rows of matrices.
extension VulkanBackend {
  /// A float32 copy on the device.
  func dequantized(_ tensor: Tensor) -> Tensor {
    guard let format = KernelFormat(tensor) else { return uploaded(host.converted(downloaded(tensor), to: .float32)) }
    let source = uploaded(tensor)
    let result = allocate(tensor.shape)
    gather(matrix(source), format, rows: nil, into: result)
    return result
  }

  /// Converts to float32 on the device, to any other type on the CPU; then the result is in host memory.
  public func converted(_ tensor: Tensor, to type: ElementType) -> Tensor {
    device.operation {
      type == .float32 ? dequantized(tensor) : host.converted(downloaded(tensor), to: type)
    }
  }

  /// Quantizes on the CPU, so that the result has the same bits, and uploads the result.
  public func quantized(_ tensor: Tensor, to format: FourBitFormat) -> Tensor? {
    device.operation {
      host.quantized(downloaded(tensor), to: format).map(uploaded)
    }
  }

  /// Quantizes on the CPU. The result is in host memory.
  public func quantized(_ tensor: Tensor, to format: AffineFormat, scaleType: ElementType) -> Tensor? {
    device.operation { host.quantized(downloaded(tensor), to: format, scaleType: scaleType) }
  }

  /// Permutes the rows on the CPU. The result is in host memory.
  public func permutedRows(_ tensor: Tensor, _ order: [Int]) -> Tensor {
    device.operation { host.permutedRows(downloaded(tensor), order) }
  }

  /// Runs one thread per element.
  public func copyRows(_ from: Columns, _ fromRow: Int, to: Columns, _ toRow: Int, count: Int) {
    device.operation {
      precondition(from.count == to.count && fromRow + count <= from.rows && toRow + count <= to.rows)
      let source = uploaded(from.tensor)
      let arguments = CopyArguments(
        from: address(source) + UInt64(4 * (fromRow * source.columns + from.offset)),
        to: address(to) + UInt64(4 * toRow * to.tensor.columns), count: UInt32(count * from.count),
        columns: UInt32(from.count), fromStride: UInt32(source.columns), toStride: UInt32(to.tensor.columns))
      device.run("copyRows", arguments, groupCount: groups(count * from.count))
    }
  }

  private struct CopyArguments { var from, to: UInt64, count, columns, fromStride, toStride: UInt32 }

  /// Dequantizes the requested rows on the device.
  public func gatherRows(_ tensor: Tensor, _ rows: [Int32]) -> Tensor {
    device.operation {
      guard let format = KernelFormat(tensor) else {
        preconditionFailure("rows are gathered from float and block types only")
      }
      precondition(rows.allSatisfy { $0 >= 0 && Int($0) < tensor.rows }, "a row to gather must exist")
      let source = uploaded(tensor)
      let result = allocate([rows.count, tensor.columns])
      gather(matrix(source), format, rows: uploaded(rows), into: result)
      return result
    }
  }

  func gather(_ from: MatrixArguments, _ format: KernelFormat, rows: Tensor?, into result: Tensor) {
    let arguments = GatherArguments(
      from: from, rows: address(rows), out: address(result), count: UInt32(result.count),
      columns: UInt32(result.columns))
    device.run("gatherRows", constant: format.rawValue, arguments, groupCount: groups(result.count))
  }

  private struct GatherArguments { var from: MatrixArguments, rows, out: UInt64, count, columns: UInt32 }

  /// Runs one thread per target row and column, which adds the contributions in order, so the result is deterministic.
  public func scatterAddRows(_ from: Tensor, _ rows: [Int32], into: Tensor) {
    device.operation {
      precondition(rows.allSatisfy { $0 >= 0 && Int($0) < into.rows }, "a row to add to must exist")
      if rows.isEmpty { return }
      // Group the source rows by target row, in order.
      let sources = rows.indices.sorted { (rows[$0], $0) < (rows[$1], $1) }
      var targets: [UInt32] = []
      var starts: [UInt32] = []
      for (place, source) in sources.enumerated() where targets.last != UInt32(rows[source]) {
        targets.append(UInt32(rows[source]))
        starts.append(UInt32(place))
      }
      starts.append(UInt32(sources.count))
      let lists = [uploaded(targets), uploaded(starts), uploaded(sources.map(UInt32.init))]
      let gradient = uploaded(from)
      let arguments = ScatterArguments(
        from: address(gradient), into: address(into), targets: address(lists[0]), starts: address(lists[1]),
        sources: address(lists[2]), targetCount: UInt32(targets.count), columns: UInt32(from.columns))
      device.run("scatterAddRows", arguments, groupCount: groups(targets.count * from.columns))
    }
  }

  private struct ScatterArguments { var from, into, targets, starts, sources: UInt64, targetCount, columns: UInt32 }

  private struct DotArguments: BitwiseCopyable { var x, y, out: UInt64, rows, columns: UInt32 }

  /// Runs one group of threads per row.
  public func rowDots(_ x: Tensor, _ y: Tensor) -> Tensor {
    device.operation {
      precondition(x.shape == y.shape, "rows that are multiplied are of equal size")
      let dots = allocate([x.rows])
      let arguments = DotArguments(
        x: address(x), y: address(y), out: address(dots), rows: UInt32(x.rows), columns: UInt32(x.columns))
      device.run("rowDots", arguments, groupCount: x.rows)
      return dots
    }
  }
}

/// The number of a storage format in CKernels and in the shaders.
struct KernelFormat: Hashable {
  let rawValue: Int
  static let float32 = KernelFormat(rawValue: 0)

  private init(rawValue: Int) { self.rawValue = rawValue }

  private static let types: [ElementType] = [
    .float32, .float16, .bfloat16, .q4_0, .q4_1, .q5_0, .q5_1, .q8_0, .q2_K, .q3_K, .q4_K, .q5_K, .q6_K, .nf4, .fp4,
    .iq4_nl, .iq4_xs, .mxfp4, .float4, .affine4, .affine8, .float8,
  ]

  /// The format of a tensor; `nil` for types that can't be operands of a product.
  init?(_ tensor: Tensor) {
    guard let number = Self.types.firstIndex(of: tensor.type), !tensor.type.hasScales || tensor.scales != nil
    else { return nil }
    rawValue = number
  }
}

/// A matrix in device memory, as laid out in kernel arguments.
struct MatrixArguments: BitwiseCopyable {
  var data, absmax, map, nested: UInt64
  var rows, columns: UInt32
  var offset: Float
  var shift: UInt32
}

extension VulkanBackend {
  func matrix(_ tensor: Tensor) -> MatrixArguments {
    let scales = tensor.scales
    return MatrixArguments(
      data: address(tensor), absmax: address(scales?.absmax), map: address(scales?.biases ?? scales?.nested?.map),
      nested: address(scales?.nested?.absmax), rows: UInt32(tensor.rows), columns: UInt32(tensor.columns),
      offset: scales?.nested?.offset ?? 0, shift: scales.map(shift) ?? 0)
  }

  /// How many bits of an element's and a row's number leave that of the scale, and the type of scales.
  private func shift(_ scales: BlockScales) -> UInt32 {
    func bits(_ size: Int) -> UInt32 { UInt32(min(31, size.trailingZeroBitCount)) }
    let type: UInt32 = scales.absmax.type == .float16 ? 1 : scales.absmax.type == .bfloat16 ? 2 : 0
    return bits(scales.blockSize) | bits(scales.blockRows) << 8 | type << 16
  }
}

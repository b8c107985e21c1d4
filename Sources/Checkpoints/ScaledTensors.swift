import Diagnostics
import Tensors

/// Weights whose scales are in tensors of their own, named after their module: codes of MLX (`mlx.nn.QuantizedLinear`), and
/// 8-bit floats in tiles (transformers' `quant_method: fp8`).
extension SafetensorsCheckpoint {
  /// The name of another tensor of the module that has `weight`.
  private func sibling(of weight: String, _ suffix: String) -> String {
    let stem = weight.hasSuffix(".weight") ? String(weight.dropLast(".weight".count)) : weight
    return "\(stem).\(suffix)"
  }

  private func corrupt(_ name: String, _ reason: String) -> SwiftletError {
    .corrupt(path(of: name) ?? "", "the quantized tensor \(name.quotedExcerpt) \(reason)")
  }

  private func unsupported(_ name: String, _ reason: String) -> SwiftletError {
    .checkpoint(path: path(of: name) ?? "", reason: "the quantized tensor \(name.quotedExcerpt) \(reason)")
  }

  /// Codes of 4 or 8 bits in words of 32 bits, with `scales` and `biases` per group; or MXFP4, with exponents in `scales`.
  func affineWeight(named name: String, _ stored: Tensor, columns: Int) throws(SwiftletError) -> Tensor {
    let (scalesName, biasesName) = (sibling(of: name, "scales"), sibling(of: name, "biases"))
    guard let scales = tensor(named: scalesName) else { throw corrupt(name, "has no \(scalesName.quotedExcerpt)") }
    let rows = stored.rows
    guard stored.shape.count >= 2, scales.shape.count == stored.shape.count, rows > 0, columns > 0,
      scales.shape.dropLast() == stored.shape.dropLast(), scales.columns > 0, columns % scales.columns == 0
    else {
      throw corrupt(name, "of shape \(stored.shape) has scales of shape \(scales.shape), for \(columns) columns")
    }
    let (bits, groupSize) = (stored.columns * 32 / columns, columns / scales.columns)
    guard bits * columns == stored.columns * 32 else {
      throw corrupt(name, "has \(stored.columns) words per row, which hold no \(columns) codes")
    }
    let shape = stored.shape.dropLast() + [columns]
    if scales.type == .uint8 {
      guard bits == 4, groupSize == 32 else {
        throw unsupported(
          name,
          "has codes of \(bits) bits in groups of \(groupSize) with 8-bit scales, which is not supported; use "
            + "MLX's affine or mxfp4 mode")
      }
      return Tensor(
        type: .float4, shape: Array(shape), storage: stored.storage, byteOffset: stored.byteOffset,
        scales: BlockScales(rows: rows, columns: columns, blockSize: groupSize, scales: scales, original: .bfloat16))
    }
    guard [4, 8].contains(bits), AffineFormat.groupSizes.contains(groupSize) else {
      throw unsupported(
        name,
        "has codes of \(bits) bits in groups of \(groupSize), which is not supported; use 4 or 8 bits in groups of "
          + "32, 64 or 128")
    }
    guard let biases = tensor(named: biasesName), biases.shape == scales.shape, biases.type == scales.type else {
      throw corrupt(name, "has no \(biasesName.quotedExcerpt) of the shape and type of its scales")
    }
    guard [.float32, .float16, .bfloat16].contains(scales.type) else {
      throw corrupt(name, "has scales of type \(scales.type.rawValue)")
    }
    return Tensor(
      type: AffineFormat(bits: bits, groupSize: groupSize).type, shape: Array(shape), storage: stored.storage,
      byteOffset: stored.byteOffset,
      scales: BlockScales(
        rows: rows, columns: columns, blockSize: groupSize, scales: scales, biases: biases, original: scales.type))
  }

  /// 8-bit floats with one scale for all, for each row, or for tiles whose sides are powers of two.
  func float8Weight(named name: String, _ stored: Tensor) throws(SwiftletError) -> Tensor {
    // The first name says inverse, but weights are multiplied by it all the same.
    let names = ["weight_scale_inv", "weight_scale"].map { sibling(of: name, $0) }
    guard let scales = names.lazy.compactMap({ tensor(named: $0) }).first else {
      throw corrupt(name, "has no \(names[0].quotedExcerpt)")
    }
    guard [.float32, .float16, .bfloat16].contains(scales.type), stored.shape.count == 2, stored.count > 0 else {
      throw corrupt(name, "of shape \(stored.shape) has scales of type \(scales.type.rawValue)")
    }
    let tiles = scales.count == 1 ? [1, 1] : scales.shape
    guard tiles.count == 2, let blockRows = Self.side(stored.rows, parts: tiles[0]),
      let blockSize = Self.side(stored.columns, parts: tiles[1]), blockSize % 32 == 0
    else {
      throw unsupported(
        name,
        "of shape \(stored.shape) has scales of shape \(scales.shape), which is not supported; use tiles of 128 by "
          + "128")
    }
    return Tensor(
      type: .float8, shape: stored.shape, storage: stored.storage, byteOffset: stored.byteOffset,
      scales: BlockScales(
        rows: stored.rows, columns: stored.columns, blockSize: blockSize, blockRows: blockRows, scales: scales,
        original: .bfloat16))
  }

  /// The power of two that divides `count` into `parts`, the last of which may be smaller. There is only one, unless there is
  /// one part.
  private static func side(_ count: Int, parts: Int) -> Int? {
    if parts == 1 { return 1 << 62 }
    return (0..<32).map { 1 << $0 }.first { (count - 1) / $0 + 1 == parts }
  }
}

extension TensorSource {
  /// The tensors that MLX stores for a tensor of its codes: words, scales and biases. Returns any other tensor unchanged.
  public static func mlx(name: String, _ tensor: Tensor) -> [TensorSource] {
    guard let format = tensor.affineFormat, let scales = tensor.scales, let biases = scales.biases,
      name.hasSuffix(".weight")
    else { return [TensorSource(name: name, tensor: tensor)] }
    let stem = name.dropLast(".weight".count)
    let outer = Array(tensor.shape.dropLast())
    let words = Tensor(
      type: .uint32, shape: outer + [tensor.columns * format.bits / 32], storage: tensor.storage,
      byteOffset: tensor.byteOffset)
    let groups = outer + [tensor.columns / format.groupSize]
    return [
      TensorSource(name: name, tensor: words),
      TensorSource(name: "\(stem).scales", tensor: scales.absmax.reshaped(groups)),
      TensorSource(name: "\(stem).biases", tensor: biases.reshaped(groups)),
    ]
  }
}

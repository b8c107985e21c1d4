/// A linear layer, y = x Wᵀ + bias, with an optional LoRA update.
public final class Linear {
  /// The path of the layer in the model, as transformers names it: `model.layers.0.self_attn.q_proj`.
  public let path: String
  /// The weight W, `[out, in]`, in any float or block type.
  public let weight: Parameter
  /// The bias, `[out]`, float32; `nil` for a layer without one.
  public let bias: Parameter?
  /// Where the weight has the columns of the input in another order, because its blocks would have to be cut to reorder
  /// it: for each run of columns, that of the input. A has the weight's order too.
  public let columnOrder: ColumnOrder?
  /// The LoRA update that is added to the output; `nil` without an adapter.
  public var lora: LoRAUpdate?

  /// Creates a layer; the weight's shape gives its sizes.
  public init(
    path: String = "", weight: Parameter, bias: Parameter? = nil, columnOrder: ColumnOrder? = nil,
    lora: LoRAUpdate? = nil
  ) {
    self.path = path
    self.weight = weight
    self.bias = bias
    self.columnOrder = columnOrder
    self.lora = lora
  }

  /// The last component of the path: `q_proj`.
  public var name: String { path.split(separator: ".").last.map(String.init) ?? path }
  /// The number of input features.
  public var inputSize: Int { weight.value.columns }
  /// The number of output features.
  public var outputSize: Int { weight.value.rows }

  var isTrainable: Bool { weight.isTrainable || bias?.isTrainable == true || lora?.isTrainable == true }
}

/// A low-rank update of a linear layer: y += scale · (dropout(x) Aᵀ Bᵀ + bias) (LoRA, Hu et al. 2021,
/// arXiv:2106.09685).
public struct LoRAUpdate {
  /// The down projection A, `[rank, in]`.
  public let a: Parameter
  /// The up projection B, `[out, rank]`.
  public let b: Parameter
  /// alpha / rank, or alpha / √rank with rsLoRA.
  public let scale: Float
  /// The probability of dropping an element of x during training.
  public let dropout: Float

  /// The magnitudes of the layer's rows, with DoRA; `nil` without. An update with magnitudes has no dropout.
  public let magnitude: Magnitude?
  /// The bias of the up projection, `[out]`; `nil` without one.
  public let bias: Parameter?
  /// What A and B were before training, if their product is part of the layer's own weight (PiSSA): it is subtracted
  /// from the update.
  public let initial: Factors?

  /// A and B that are not trained.
  public struct Factors {
    /// `[rank, in]`
    public let a: Tensor
    /// `[out, rank]`
    public let b: Tensor

    /// Creates factors of the same rank.
    public init(a: Tensor, b: Tensor) {
      self.a = a
      self.b = b
    }
  }

  /// Creates an update; `a` and `b` must have the same rank. With magnitudes there is neither a bias nor initial factors.
  public init(
    a: Parameter, b: Parameter, scale: Float, dropout: Float = 0, magnitude: Magnitude? = nil,
    bias: Parameter? = nil, initial: Factors? = nil
  ) {
    precondition(magnitude == nil || bias == nil && initial == nil, "a bias or initial factors exclude magnitudes")
    self.a = a
    self.b = b
    self.scale = scale
    self.dropout = dropout
    self.magnitude = magnitude
    self.bias = bias
    self.initial = initial
  }

  /// The rank r: the number of rows of A and columns of B.
  public var rank: Int { a.value.rows }

  /// The rows of A, and of what is subtracted from it.
  package var keptRanks: Int { rank + (initial?.a.rows ?? 0) }

  /// A, B, the bias and the magnitudes.
  public var parameters: [Parameter] {
    [a, b] + (bias.map { [$0] } ?? []) + (magnitude.map { [$0.parameter] } ?? [])
  }

  var isTrainable: Bool { parameters.contains(where: \.isTrainable) }
}

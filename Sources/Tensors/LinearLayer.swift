/// A linear layer, y = x Wᵀ + bias, with an optional LoRA update.
public final class Linear {
  /// The path of the layer in the model, as transformers names it: `model.layers.0.self_attn.q_proj`.
  public let path: String
  /// `[out, in]`, in any storage format.
  public let weight: Parameter
  /// `[out]`, or `nil`.
  public let bias: Parameter?
  /// The LoRA update to add, or `nil`.
  public var lora: LoRAUpdate?

  /// Creates a layer; the weight's shape gives its sizes.
  public init(path: String = "", weight: Parameter, bias: Parameter? = nil, lora: LoRAUpdate? = nil) {
    self.path = path
    self.weight = weight
    self.bias = bias
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

/// A low-rank update of a linear layer: y += scale · dropout(x) Aᵀ Bᵀ (LoRA, Hu et al. 2021, arXiv:2106.09685).
public struct LoRAUpdate {
  /// `[rank, in]`
  public let a: Parameter
  /// `[out, rank]`
  public let b: Parameter
  /// alpha / rank, or alpha / √rank with rsLoRA.
  public let scale: Float
  /// The probability of dropping an element of x during training.
  public let dropout: Float

  /// The magnitudes of the layer's rows, with DoRA; `nil` without. An update with magnitudes has no dropout.
  public let magnitude: Magnitude?

  /// Creates an update; `a` and `b` must have the same rank.
  public init(a: Parameter, b: Parameter, scale: Float, dropout: Float = 0, magnitude: Magnitude? = nil) {
    self.a = a
    self.b = b
    self.scale = scale
    self.dropout = dropout
    self.magnitude = magnitude
  }

  /// The number of rows of A.
  public var rank: Int { a.value.rows }

  /// A, B and the magnitudes.
  public var parameters: [Parameter] { [a, b] + (magnitude.map { [$0.parameter] } ?? []) }

  var isTrainable: Bool { parameters.contains(where: \.isTrainable) }
}

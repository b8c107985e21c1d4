import Datasets
import Diagnostics

/// Finds rows that `max_length` cuts off.
struct RowTokenCount: Sendable {
  private let preparation: Preparation
  private let limit: Int

  /// - Returns: `nil` if rows are not truncated: without a limit, and with packing that splits them.
  init?(_ tokenizer: RowTokenizer, _ options: PreparationOptions) {
    guard let limit = options.maxLength, options.packing == nil || options.packing == .bfd else { return nil }
    preparation = Preparation(tokenizer, options: options)
    self.limit = limit
  }

  /// Whether a row has more tokens than the limit. Only rows with about as many bytes are tokenized.
  /// - Parameter byteCount: the size of its text; a token has at least one byte.
  func exceedsLimit(_ row: Row, byteCount: Int) -> Bool {
    // The template's own tokens come on top.
    byteCount + 256 > limit && (try? preparation.tokenCount(of: row)).map { $0 > limit } ?? false
  }
}

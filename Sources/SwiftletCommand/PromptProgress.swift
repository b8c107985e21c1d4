import Terminal

/// Shows how much of a long prompt the model has read, until the answer begins.
struct PromptProgress {
  private var bar: ProgressBar?

  /// Shows that `read` of `total` tokens have been read.
  mutating func update(_ read: Int, of total: Int) {
    let output = Output.standardError
    var bar =
      bar
      ?? ProgressBar("reading the prompt", total: total, quantity: .items("tokens"), delay: output.isTerminal ? 0 : 2)
    bar.update(read)
    self.bar = bar
  }

  /// Removes the bar from the screen.
  mutating func end() {
    bar?.clear()
    bar = nil
  }
}

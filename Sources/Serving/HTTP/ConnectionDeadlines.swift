import NIOCore
import NIOHTTP1

/// Closes connections of clients that are too slow: to send a request, or to read a response.
final class ConnectionDeadlines: ChannelDuplexHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias OutboundIn = HTTPServerResponsePart

  private let limits: HTTPLimits
  /// For the request that is being received.
  private var requestDeadline: Scheduled<Void>?
  /// For a response that the client doesn't read.
  private var writeDeadline: Scheduled<Void>?

  init(_ limits: HTTPLimits) { self.limits = limits }

  func handlerAdded(context: ChannelHandlerContext) {
    requestDeadline = deadline(limits.headSeconds, context)
  }

  func handlerRemoved(context: ChannelHandlerContext) {
    requestDeadline?.cancel()
    writeDeadline?.cancel()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch unwrapInboundIn(data) {
    case .head:
      requestDeadline?.cancel()
      requestDeadline = deadline(limits.bodySeconds, context)
    case .body: break
    case .end:
      requestDeadline?.cancel()
      requestDeadline = nil
    }
    context.fireChannelRead(data)
  }

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    if case .end = unwrapOutboundIn(data), requestDeadline == nil {
      requestDeadline = deadline(limits.headSeconds, context)
    }
    context.write(data, promise: promise)
  }

  func channelWritabilityChanged(context: ChannelHandlerContext) {
    writeDeadline?.cancel()
    writeDeadline = context.channel.isWritable ? nil : deadline(limits.stalledSeconds, context)
    context.fireChannelWritabilityChanged()
  }

  private func deadline(_ seconds: Int64, _ context: ChannelHandlerContext) -> Scheduled<Void> {
    let channel = context.channel
    return context.eventLoop.scheduleTask(in: .seconds(seconds)) { channel.close(mode: .all, promise: nil) }
  }
}

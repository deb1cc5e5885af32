# How often do adjacent tokens go to the same expert? Table 5 and Figure 10 of
# arXiv:2401.04088 from a trace, as repetition.ipynb has them, in base R:
#   Rscript repetition.R RUN.db FOLDER
# Only the views of the database are used (man moetrace-schema).
arguments <- commandArgs(trailingOnly = TRUE)
if (length(arguments) != 2) stop("usage: Rscript repetition.R RUN.db FOLDER")
if (!file.exists(arguments[1])) stop(arguments[1], ": no such file")
out <- arguments[2]
trace <- DBI::dbConnect(RSQLite::SQLite(), arguments[1],
                        flags = RSQLite::SQLITE_RO)
query <- function(...) DBI::dbGetQuery(trace, ...)

about <- query("SELECT key, value FROM run")
about <- setNames(about$value, about$key)
E <- as.integer(about[["experts"]])
k <- as.integer(about[["top_k"]])
uniform <- c(first = 1 / E, any = 1 - choose(E - k, k) / choose(E, k))

# A pair: a token and the one behind it, in one window, neither of them BOS
token <- query("
    SELECT document, window, phase = 'bos' AS bos,
           iif(domain = '', '(unknown)', domain) AS domain
    FROM token JOIN document USING (document) ORDER BY document, position")
n <- nrow(token)
text <- token$bos == 0
pair <- c(text[-n] & text[-1] & diff(token$document) == 0 &
            diff(token$window) == 0, FALSE)
groups <- unique(token$domain)
layers <- query("
    SELECT DISTINCT layer FROM selection
    WHERE document = (SELECT min(document) FROM document WHERE tokens > 0)
    ORDER BY layer")$layer

# Experts of every token, [tokens, k]; NA where the trace does not know
chosen <- function(layer) {
  expert <- query("SELECT expert FROM selection WHERE layer = ?
                   ORDER BY document, position, rank", params = list(layer))
  matrix(expert$expert, ncol = k, byrow = TRUE)
}

# The kind of each token's set, and which kinds have an expert in common
kinds <- function(c) {
  sorted <- matrix(c[order(row(c), c)], ncol = ncol(c), byrow = TRUE)
  kind <- factor(do.call(paste, as.data.frame(sorted)))
  member <- t(sapply(strsplit(levels(kind), " "),
                     function(s) 0:(E - 1) %in% s))
  list(kind = kind, common = (member %*% t(member)) > 0)
}

# Does each token repeat the one behind it?
repeats_next <- function(c) {
  following <- rbind(c[-1, , drop = FALSE], NA)
  same <- logical(n)
  for (i in seq_len(ncol(c)))
    for (j in seq_len(ncol(c)))
      same <- same | (c[, i] == following[, j]) %in% TRUE
  same
}

rates <- function(layer) {
  expert <- chosen(layer)
  choices <- lapply(list(first = expert[, 1, drop = FALSE], any = expert),
                    function(c) {
    known <- rowSums(is.na(c)) == 0
    c(list(known = known, told = pair & known & c(known[-1], FALSE),
           same = repeats_next(c)), kinds(c))
  })
  rows <- lapply(c(groups, "(all)"), function(group) {
    of <- text & (token$domain == group | group == "(all)")
    lapply(names(choices), function(choice) {
      x <- choices[[choice]]
      pairs <- sum(x$told & of)
      repeats <- sum(x$told & x$same & of)
      law <- tabulate(x$kind[x$known & of], nlevels(x$kind))
      law <- law / sum(law)
      data.frame(layer = layer, group = group, choice = choice,
                 rate = if (pairs) repeats / pairs else NA,
                 chance_uniform = uniform[[choice]],
                 chance_load = drop(law %*% x$common %*% law),
                 repeats = repeats, pairs = pairs)
    })
  })
  do.call(rbind, unlist(rows, recursive = FALSE))
}
repetition <- do.call(rbind, lapply(layers, rates))

# The shortest text that reads back exactly; write.csv alone keeps 15 digits
exact <- function(v) {
  text <- sprintf("%.15g", v)
  for (digits in 16:17) {
    longer <- !is.na(v) & as.numeric(text) != v
    text[longer] <- sprintf(paste0("%.", digits, "g"), v[longer])
  }
  ifelse(is.na(v), "", text)
}
table <- repetition
for (column in c("rate", "chance_uniform", "chance_load"))
  table[[column]] <- exact(table[[column]])
write.csv(table, file.path(out, "figure10.csv"), row.names = FALSE,
          quote = FALSE, eol = "\n")

# Table 5: first, middle and last layer, in per cent
shown <- layers[c(1, (length(layers) + 1) %/% 2, length(layers))]
part <- repetition[repetition$layer %in% shown, ]
part <- part[order(match(part$group, c(groups, "(all)")), part$layer), ]
first <- part[part$choice == "first", ]
any <- part[part$choice == "any", ]
table5 <- data.frame(domain = first$group, layer = first$layer,
                     first_choice_percent = sprintf("%.2f", 100 * first$rate),
                     first_or_second_choice_percent =
                       sprintf("%.2f", 100 * any$rate))
write.csv(table5, file.path(out, "table5.csv"), row.names = FALSE,
          quote = FALSE, eol = "\n")
print(table5)

# Figure 10. Dotted: chance for uniform routes; grey: the range, over domains, of
# the load-aware chance. Okabe and Ito's colours.
colours <- rep(c("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00",
                 "#56B4E9", "#000000", "#F0E442"), length.out = length(groups))
marks <- rep(c(16, 15, 18, 17, 25, 1, 0, 5, 2, 6), length.out = length(groups))
titles <- c(first = "First choice", any = if (k == 2) "First or second choice"
                                          else paste("Any of", k, "choices"))
pdf(file.path(out, "figure10.pdf"), width = 9, height = 3.6)
graphics::layout(matrix(1:3, 1), widths = c(3.6, 3.6, 1.6))
par(mar = c(4, 4, 2.5, 0.5), las = 1, bty = "l")
for (choice in names(titles)) {
  part <- repetition[repetition$choice == choice & repetition$group != "(all)", ]
  low <- tapply(part$chance_load, part$layer, min)
  high <- tapply(part$chance_load, part$layer, max)
  plot(NA, xlim = range(layers), main = titles[[choice]], xlab = "Layer",
       ylim = range(part$rate, low, high, uniform[[choice]], na.rm = TRUE),
       ylab = "Pairs that repeat")
  polygon(c(layers, rev(layers)), c(low, rev(high)), col = "grey85", border = NA)
  abline(h = uniform[[choice]], lty = "dotted")
  for (i in seq_along(groups)) {
    line <- part[part$group == groups[i], ]
    lines(line$layer, line$rate, type = "o", pch = marks[i], col = colours[i],
          bg = colours[i])
  }
}
par(mar = c(0, 0, 0, 0))
plot.new()
legend("left", groups, col = colours, pt.bg = colours, pch = marks, lty = 1,
       bty = "n")
invisible(dev.off())
DBI::dbDisconnect(trace)

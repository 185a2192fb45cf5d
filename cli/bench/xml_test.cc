#include "cli/bench/xml.h"

#include "gtest/gtest.h"

namespace cli::bench {
namespace {

TEST(XmlText, LeavesNoMarkupAndNoBrokenText) {
  EXPECT_EQ(XmlText("a <b> & \"c\" 'd'"), "a &lt;b&gt; &amp; &quot;c&quot; 'd'");
  EXPECT_EQ(XmlText("1 \xc2\xb5s \xe2\x82\xac \xf0\x9f\x98\x80"),
            "1 \xc2\xb5s \xe2\x82\xac \xf0\x9f\x98\x80");
  EXPECT_EQ(XmlText(std::string("\0\n\x1b\x7f", 4)), "????");
  // Alone, cut, too long, a surrogate, beyond the last, a control character, U+FFFF.
  EXPECT_EQ(XmlText("\xb5 \xe2\x82"), "? ??");
  EXPECT_EQ(XmlText("\xc0\x80"), "??");
  EXPECT_EQ(XmlText("\xed\xa0\x80"), "???");
  EXPECT_EQ(XmlText("\xf4\x90\x80\x80"), "????");
  EXPECT_EQ(XmlText("\xc2\x85"), "??");
  EXPECT_EQ(XmlText("\xef\xbf\xbf"), "???");
}

}  // namespace
}  // namespace cli::bench

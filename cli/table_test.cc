#include "cli/table.h"

#include <gtest/gtest.h>

namespace cli {
namespace {

Table Animals() {
  Table table({{"NAME"}, {"LEGS", /*is_number=*/true}, {"SOUND", false, /*by_default=*/false}});
  table.AddRow({"cat", "4", "meow"});
  table.AddRow({"millipede", "1306", ""});
  return table;
}

TEST(Table, AlignsNumbersToTheRightAndTextToTheLeft) {
  EXPECT_EQ(Animals().ToString(),
            "NAME       LEGS\n"
            "cat           4\n"
            "millipede  1306\n");
}

TEST(Table, CanDoWithoutHeadings) {
  Table table({{"A VERY WIDE HEADING"}, {"B"}});
  table.AddRow({"1", "2"});
  EXPECT_EQ(table.ToString(/*headings=*/false), "1  2\n");
}

TEST(Table, PrintsTheChosenColumnsInTheOrderOfTheChoice) {
  Table table = Animals();
  EXPECT_EQ(table.Choose("sound, Name"), std::nullopt);
  EXPECT_EQ(table.ToString(),
            "SOUND  NAME\n"
            "meow   cat\n"
            "       millipede\n");
}

TEST(Table, NamesTheColumnsThereAreWhereOneIsUnknown) {
  Table table = Animals();
  EXPECT_EQ(table.Choose("NAME,WINGS"), "there is no column 'WINGS'; there are NAME,LEGS,SOUND");
  EXPECT_EQ(table.ToString(), Animals().ToString()) << "the choice stays as it was";
}

TEST(Table, WithoutRowsIsItsHeadings) {
  EXPECT_EQ(Table({{"A"}, {"B"}}).ToString(), "A  B\n");
  EXPECT_EQ(Table({{"A"}}).ToString(false), "");
}

}  // namespace
}  // namespace cli
